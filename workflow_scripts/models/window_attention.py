"""Attention inside windows of a feature map, at their places or shifted by half a window.

Liu et al. 2021 (Swin), section 3.2: windows, shifted windows, relative position bias. Windows here may be rectangles,
and an axis that one window covers whole is not shifted. Feature maps are (batch, rows, columns, channels).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workflow_scripts.errors import UserError

TABLE_SPREAD = 0.01  # standard deviation of the first values of a position bias table


def window_order(grid: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """The number of the cell at each place when the shifted map is read window by window, (windows, cells)."""
    (height, width), (rows, columns) = grid, window
    cells = torch.arange(height * width).view(height, width).roll((-shift[0], -shift[1]), (0, 1))
    cells = cells.view(height // rows, rows, width // columns, columns)
    return cells.transpose(1, 2).reshape(-1, rows * columns)


def strangers(grid: tuple[int, int], window: tuple[int, int], shift: tuple[int, int]) -> Tensor:
    """Pairs that share a window only because the shift wraps around the map, (windows, cells, cells) of bool."""

    def wrapped(size: int, moved: int) -> Tensor:
        """Of each place of a shifted axis: whether it came around from the other end."""
        return torch.arange(size) >= size - moved

    wrapped_row, wrapped_column = (wrapped(*axis) for axis in zip(grid, shift, strict=True))
    regions = 2 * wrapped_row[:, None].long() + wrapped_column[None, :].long()
    regions = regions.flatten()[window_order(grid, window, (0, 0))]
    return regions[:, :, None] != regions[:, None, :]


def relative_index(window: tuple[int, int]) -> Tensor:
    """For each pair of cells of a window, its entry in a flat table of row and column differences, (cells * cells,)."""
    rows, columns = window
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    row, column = row.flatten(), column.flatten()
    down = row[:, None] - row[None, :] + rows - 1
    right = column[:, None] - column[None, :] + columns - 1
    return (down * (2 * columns - 1) + right).flatten()


class WindowAttention(nn.Module):
    """Multi-head self-attention among the cells of each window."""

    def __init__(self, dim: int, heads: int, grid: tuple[int, int], window: tuple[int, int], shifted: bool) -> None:
        """Windows must divide the grid; otherwise a `UserError`."""
        super().__init__()
        if any(size % extent for size, extent in zip(grid, window, strict=True)):
            raise UserError(
                f"window: {window[0]} x {window[1]} does not divide the feature map of {grid[0]} x {grid[1]} cells; "
                "choose a divisor for each axis"
            )
        shift = (0, 0)
        if shifted:
            first, second = (
                math.ceil(extent / 2) if extent < size else 0 for size, extent in zip(grid, window, strict=True)
            )
            shift = (first, second)
        self.heads = heads
        self.proj_qkv = nn.Linear(dim, 3 * dim)
        self.proj_out = nn.Linear(dim, dim)
        table = torch.empty(heads, 2 * window[0] - 1, 2 * window[1] - 1)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=TABLE_SPREAD))
        self.index: Tensor
        self.order: Tensor
        self.back: Tensor
        self.strangers: Tensor | None
        order = window_order(grid, window, shift)
        self.register_buffer("index", relative_index(window), persistent=False)
        self.register_buffer("order", order.flatten(), persistent=False)
        self.register_buffer("back", order.flatten().argsort(), persistent=False)
        self.register_buffer("strangers", strangers(grid, window, shift) if any(shift) else None, persistent=False)
        self.windows, self.cells = order.shape

    def bias(self) -> Tensor:
        """What is added to the scores, (1, heads, cells, cells); of shifted windows (windows, heads, cells, cells)."""
        bias = self.relative_position_bias_table.flatten(1).index_select(1, self.index)
        bias = bias.view(1, self.heads, self.cells, self.cells)
        return bias if self.strangers is None else bias.masked_fill(self.strangers[:, None], -math.inf)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, rows, columns, channels) in and out."""
        batch, channels = x.shape[0], x.shape[-1]
        ordered = x.flatten(1, 2).index_select(1, self.order).view(-1, self.cells, channels)
        query, key, value = self.proj_qkv(ordered).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.bias().to(query.dtype)
        if len(bias) > 1:
            bias = bias.repeat(batch, 1, 1, 1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed = self.proj_out(mixed.transpose(1, 2).reshape(batch, -1, channels))
        return mixed.index_select(1, self.back).view(x.shape)
