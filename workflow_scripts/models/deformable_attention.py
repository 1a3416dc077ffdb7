"""Deformable attention: every cell of a feature map looks at sampled points that the queries move.

Xia et al. 2022 (DAT), section 3.2, and DATAR, section 3, eq. 1-4. Feature maps are (batch, rows, columns, channels);
points are (column, row) in a map whose corner cells lie at -1 and 1.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workflow_scripts.models.window_attention import TABLE_SPREAD

RefGrid = Literal["paper", "dat2022"]


def reference_points(grid: tuple[int, int], kind: RefGrid) -> Tensor:
    """Evenly spread points, (rows, columns, 2).

    `paper`: from corner to corner, so that a point without an offset is a cell. `dat2022`: (i + 1/2) / n of the way,
    as the published weights were trained, which lies between cells.
    """

    def axis(size: int) -> Tensor:
        if kind == "dat2022":
            return (torch.arange(size) + 0.5) / size * 2 - 1
        return torch.linspace(-1, 1, size) if size > 1 else torch.zeros(1)

    rows, columns = torch.meshgrid(axis(grid[0]), axis(grid[1]), indexing="ij")
    return torch.stack((columns, rows), -1)


class OffsetGenerator(nn.Module):
    """How far each point moves, as a row and a column, from the queries around it; the groups share one network.

    A depth-wise convolution, layer norm (where `norm`), GELU and a projection to 2 (DAT, section 3.2, figure 2b).
    """

    def __init__(self, dim: int, groups: int, kernel: int, stride: int, norm: bool) -> None:
        super().__init__()
        width = dim // groups
        self.groups = groups
        self.depthwise = nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.project = nn.Linear(width, 2, bias=False)

    def forward(self, query: Tensor) -> Tensor:
        """(batch, rows, columns, channels) to (batch, key rows, key columns, groups, 2), not yet limited."""
        layer = self.depthwise
        # One convolution over all channels with the weights repeated: groups need not be moved into the batch.
        weight, bias = layer.weight.repeat(self.groups, 1, 1, 1), layer.bias
        moved = F.conv2d(
            query.permute(0, 3, 1, 2),
            weight,
            None if bias is None else bias.repeat(self.groups),
            layer.stride,
            layer.kernel_size[0] // 2,
            groups=query.shape[-1],
        )
        return self.project(F.gelu(self.norm(moved.permute(0, 2, 3, 1).unflatten(-1, (self.groups, -1)))))


class DeformableAttention(nn.Module):
    """Multi-head attention of all cells to points sampled from the map, one set of points for each group of heads.

    `stride` subsamples the points; `offset_range` is how far a point may move, in halves of the points' spacing;
    without `moving`, points stay where they are.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        groups: int,
        grid: tuple[int, int],
        kernel: int = 5,
        stride: int = 1,
        offset_range: float = 2,
        norm: bool = True,
        ref_grid: RefGrid = "paper",
        moving: bool = True,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.proj_q, self.proj_k, self.proj_v, self.proj_out = (nn.Linear(dim, dim) for _ in range(4))
        self.conv_offset = OffsetGenerator(dim, groups, kernel, stride, norm) if moving else None
        rows, columns = grid
        table = torch.empty(heads, 2 * rows - 1, 2 * columns - 1)
        self.rpe_table = nn.Parameter(nn.init.trunc_normal_(table, std=TABLE_SPREAD))
        keys = (-(-rows // stride), -(-columns // stride))
        self.cells: Tensor
        self.points: Tensor
        self.reach: Tensor
        self.register_buffer("cells", reference_points(grid, ref_grid).flatten(0, 1), persistent=False)
        self.register_buffer("points", reference_points(keys, ref_grid), persistent=False)
        self.register_buffer("reach", offset_range / torch.tensor(keys), persistent=False)

    def positions(self, query: Tensor) -> Tensor:
        """Where keys are sampled, (batch, groups, points, 2); (1, 1, points, 2) where points do not move.

        At least float32: a position in bfloat16 would be off by cells.
        """
        points = self.points.to(torch.promote_types(query.dtype, torch.float32))
        if self.conv_offset is None:
            return points.view(1, 1, -1, 2)
        offsets = self.conv_offset(query).to(points.dtype).tanh() * self.reach
        return (points[:, :, None] + offsets.flip(-1)).permute(0, 3, 1, 2, 4).flatten(2, 3)

    def sample(self, x: Tensor, positions: Tensor) -> Tensor:
        """The map at the positions by bilinear interpolation, zero outside of it, (batch, points, channels)."""
        batch, groups = x.shape[0], positions.shape[1]
        maps = x.unflatten(-1, (groups, -1)).permute(0, 3, 4, 1, 2).flatten(0, 1).to(positions.dtype)
        places = positions.expand(batch, -1, -1, -1).flatten(0, 1)[:, None]
        sampled = F.grid_sample(maps, places, align_corners=True)
        return sampled.view(batch, x.shape[-1], -1).transpose(1, 2).to(x.dtype)

    def bias(self, positions: Tensor) -> Tensor:
        """The position bias table at the distances from cells to points, (batch or 1, heads, cells, points)."""
        distances = (self.cells[:, None] / 2).to(positions.dtype) - (positions / 2)[:, :, None]
        batch, groups = positions.shape[:2]
        tables = self.rpe_table.to(positions.dtype).unflatten(0, (groups, -1)).expand(batch, -1, -1, -1, -1)
        bias = F.grid_sample(tables.flatten(0, 1), distances.flatten(0, 1), align_corners=True)
        return bias.view(batch, self.heads, *bias.shape[-2:])

    def forward(self, x: Tensor) -> Tensor:
        """(batch, rows, columns, channels) in and out."""

        def split(tokens: Tensor) -> Tensor:
            return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        query = self.proj_q(x)
        positions = self.positions(query)
        sampled = self.sample(x, positions)
        key, value = split(self.proj_k(sampled)), split(self.proj_v(sampled))
        bias = self.bias(positions).to(query.dtype)
        mixed = F.scaled_dot_product_attention(split(query.flatten(1, 2)), key, value, attn_mask=bias)
        return self.proj_out(mixed.transpose(1, 2).reshape(x.shape))
