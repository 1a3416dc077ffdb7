"""The deformable audio transformer step by step, as its equations read, for comparison with the real one.

DATAR, section 3, eq. 1-5; Xia et al. 2022 (DAT), section 3; Liu et al. 2021 (Swin), section 3.2. Takes the parameters
of a `Datar` by name and nothing else of it. Maps are (batch, rows, columns, channels).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from workflow_scripts.models.dat import Size


def bilinear(maps: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Eq. 3: maps (n, channels, rows, columns) at places in cells (n, ...), as the mean of the four cells around each
    weighted by g(a, b) = max(0, 1 - |a - b|); zero outside. Returns (n, channels, ...)."""
    height, width = maps.shape[-2:]
    total = torch.zeros((), dtype=maps.dtype)
    for rows in (row.floor(), row.floor() + 1):
        for columns in (column.floor(), column.floor() + 1):
            weight = (1 - (row - rows).abs()).clamp(min=0) * (1 - (column - columns).abs()).clamp(min=0)
            inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            place = (rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)).long().flatten(1)
            values = maps.flatten(2).gather(2, place[:, None].expand(-1, maps.shape[1], -1))
            total = total + values.unflatten(2, row.shape[1:]) * (weight * inside)[:, None]
    return total


def axis(size: int, ref_grid: str) -> Tensor:
    """Coordinates of reference points along an axis."""
    if ref_grid == "dat2022":
        return torch.tensor([(2 * i + 1) / size - 1 for i in range(size)], dtype=torch.float64)
    return torch.tensor([2 * i / (size - 1) - 1 if size > 1 else 0 for i in range(size)], dtype=torch.float64)


@dataclass
class Reference:
    """A `Datar` with these settings and parameters."""

    parameters: Mapping[str, Tensor]
    size: Size
    window: tuple[int, int]
    kernels: tuple[int, ...] = (5, 3)
    norm: bool = True
    stride: int = 1
    reach: float = 2
    ref_grid: str = "paper"
    deform: str = "deform"
    adaptor_weight: float = 0

    def __call__(self, features: Tensor) -> dict[str, Tensor]:
        x = features.transpose(1, 2)[:, None]
        if self.adaptor_weight:  # eq. 5
            kernel = self.get("adaptor.convolution.weight")
            changed = F.conv2d(x, kernel, self.get("adaptor.convolution.bias"), padding=kernel.shape[-1] // 2)
            x = x + self.adaptor_weight * changed
        x = self.patches("trunk.patch_proj", x.permute(0, 2, 3, 1), 4)
        for stage, depth in enumerate(self.size.depths):
            if stage:
                x = self.patches(f"trunk.down_projs.{stage - 1}", x, 2)
            for block in range(depth):
                name = f"trunk.stages.{stage}.{block}"
                x = x + self.attention(stage, block, self.normed(f"{name}.attention_norm", x))
                hidden = F.gelu(self.linear(f"{name}.mlp.0", self.normed(f"{name}.mlp_norm", x)))
                x = x + self.linear(f"{name}.mlp.2", hidden)
        pooled = self.normed("trunk.cls_norm", x).mean((1, 2))
        names = [key.split(".")[1] for key in self.parameters if key.startswith("heads.") and key.endswith(".weight")]
        return {name: self.linear(f"heads.{name}", pooled) for name in names}

    def get(self, name: str) -> Tensor:
        return self.parameters[name]

    def linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self.get(f"{name}.weight").T + self.parameters.get(f"{name}.bias", torch.zeros((), dtype=x.dtype))

    def normed(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.get(f"{name}.weight") + self.get(f"{name}.bias")

    def patches(self, name: str, x: Tensor, side: int) -> Tensor:
        x = F.conv2d(
            x.permute(0, 3, 1, 2), self.get(f"{name}.conv.weight"), self.parameters.get(f"{name}.conv.bias"), side
        )
        return self.normed(f"{name}.norm", x.permute(0, 2, 3, 1))

    def attention(self, stage: int, block: int, x: Tensor) -> Tensor:
        plain = len(self.size.dims) - len(self.size.groups)
        name, heads = f"trunk.stages.{stage}.{block}.attention", self.size.heads[stage]
        if block % 2 == 0 or stage < plain or self.deform == "swin":
            return self.windows(name, x, heads, block % 2 == 1)
        return self.deformable(name, x, heads, self.size.groups[stage - plain], self.kernels[stage - plain])

    def windows(self, name: str, x: Tensor, heads: int, shifted: bool) -> Tensor:
        batch, height, width, channels = x.shape
        rows, columns = min(self.window[0], height), min(self.window[1], width)
        down = math.ceil(rows / 2) if shifted and rows < height else 0
        right = math.ceil(columns / 2) if shifted and columns < width else 0
        x = torch.roll(x, (-down, -right), (1, 2))
        # Where cells of the rolled map come from: those that were not neighbours may not see each other.
        origin = torch.zeros(height, width)
        for i in range(height):
            for j in range(width):
                origin[i, j] = 2 * (i + down >= height) + (j + right >= width)

        def cut(values: Tensor) -> Tensor:
            """(n, rows, columns, c) into (n, windows, cells of a window, c)."""
            values = values.reshape(len(values), height // rows, rows, width // columns, columns, -1)
            return values.transpose(2, 3).reshape(len(values), -1, rows * columns, values.shape[-1])

        query, key, value = (
            part.unflatten(-1, (heads, -1)) for part in self.linear(f"{name}.proj_qkv", cut(x)).chunk(3, -1)
        )
        scores = torch.einsum("bwqhc,bwkhc->bwhqk", query, key) / math.sqrt(channels // heads)
        cells = torch.arange(rows * columns)
        row, column = cells // columns, cells % columns
        table = self.get(f"{name}.relative_position_bias_table")
        scores = scores + table[:, row[:, None] - row + rows - 1, column[:, None] - column + columns - 1]
        place = cut(origin[None, :, :, None])[0, :, :, 0]
        scores = scores.masked_fill((place[:, :, None] != place[:, None, :])[None, :, None], -math.inf)
        mixed = torch.einsum("bwhqk,bwkhc->bwqhc", scores.softmax(-1), value).flatten(-2)
        mixed = mixed.reshape(batch, height // rows, width // columns, rows, columns, channels).transpose(2, 3)
        mixed = self.linear(f"{name}.proj_out", mixed.reshape(batch, height, width, channels))
        return torch.roll(mixed, (down, right), (1, 2))

    def deformable(self, name: str, x: Tensor, heads: int, groups: int, kernel: int) -> Tensor:
        batch, height, width, channels = x.shape
        query = self.linear(f"{name}.proj_q", x)

        def grouped(values: Tensor) -> Tensor:
            """(batch * groups, channels of a group, rows, columns)."""
            return values.permute(0, 3, 1, 2).reshape(batch * groups, channels // groups, height, width)

        key_rows, key_columns = -(-height // self.stride), -(-width // self.stride)
        # Eq. 2: reference points and what moves them.
        p_row = axis(key_rows, self.ref_grid).to(x.dtype)[:, None].expand(key_rows, key_columns)
        p_column = axis(key_columns, self.ref_grid).to(x.dtype)[None, :].expand(key_rows, key_columns)
        offsets = torch.zeros(batch * groups, key_rows, key_columns, 2, dtype=x.dtype)
        if self.deform == "deform":
            hidden = F.conv2d(
                grouped(query),
                self.get(f"{name}.conv_offset.depthwise.weight"),
                self.get(f"{name}.conv_offset.depthwise.bias"),
                self.stride,
                kernel // 2,
                groups=channels // groups,
            ).permute(0, 2, 3, 1)
            hidden = self.normed(f"{name}.conv_offset.norm", hidden) if self.norm else hidden
            offsets = self.linear(f"{name}.conv_offset.project", F.gelu(hidden)).tanh() * self.reach
        row = (p_row + offsets[..., 0] / key_rows).flatten(1)
        column = (p_column + offsets[..., 1] / key_columns).flatten(1)
        # Eq. 3: -1 and 1 are the first and last cells.
        sampled = bilinear(grouped(x), (row + 1) / 2 * (height - 1), (column + 1) / 2 * (width - 1))
        sampled = sampled.reshape(batch, channels, -1).transpose(1, 2)
        split = {part: self.linear(f"{name}.proj_{part}", sampled).unflatten(-1, (heads, -1)) for part in ("k", "v")}
        # Eq. 4: the distance from each cell to each point, in cells of the table.
        q_row = axis(height, self.ref_grid).to(x.dtype)[:, None].expand(height, width).flatten()
        q_column = axis(width, self.ref_grid).to(x.dtype)[None, :].expand(height, width).flatten()
        tables = self.get(f"{name}.rpe_table").unflatten(0, (groups, -1)).repeat(batch, 1, 1, 1)
        bias = bilinear(
            tables,
            ((q_row[None, :, None] - row[:, None, :]) / 2 + 1) * (height - 1),
            ((q_column[None, :, None] - column[:, None, :]) / 2 + 1) * (width - 1),
        ).reshape(batch, heads, height * width, -1)
        queries = query.flatten(1, 2).unflatten(-1, (heads, -1))
        scores = torch.einsum("bqhc,bkhc->bhqk", queries, split["k"]) / math.sqrt(channels // heads) + bias
        mixed = torch.einsum("bhqk,bkhc->bqhc", scores.softmax(-1), split["v"]).reshape(x.shape)
        return self.linear(f"{name}.proj_out", mixed)


def published_layout(size: Size, window: int, side: int) -> dict[str, tuple[int, ...]]:
    """Key names and shapes of the published weights of DAT (2022) for square images with 1,000 classes."""
    dims = size.dims
    layout: dict[str, tuple[int, ...]] = {"patch_proj.0.weight": (dims[0], 3, 4, 4), "patch_proj.0.bias": (dims[0],)}

    def add(name: str, *weight: int, bias: int = 0) -> None:
        layout[f"{name}.weight"] = weight
        if bias:
            layout[f"{name}.bias"] = (bias,)

    add("patch_proj.1.norm", dims[0], bias=dims[0])
    for stage, (dim, depth, heads) in enumerate(zip(dims, size.depths, size.heads, strict=True)):
        own, cells = stage - len(dims) + len(size.groups), window**2
        for block in range(depth):
            name, attention = f"stages.{stage}", f"stages.{stage}.attns.{block}"
            for place in (2 * block, 2 * block + 1):
                add(f"{name}.layer_norms.{place}.norm", dim, bias=dim)
            add(f"{name}.mlps.{block}.chunk.linear1", 4 * dim, dim, bias=4 * dim)
            add(f"{name}.mlps.{block}.chunk.linear2", dim, 4 * dim, bias=dim)
            if block % 2 == 0 or own < 0:
                layout[f"{attention}.relative_position_bias_table"] = ((2 * window - 1) ** 2, heads)
                layout[f"{attention}.relative_position_index"] = (cells, cells)
                if block % 2:
                    layout[f"{attention}.attn_mask"] = ((side // 4 // 2**stage // window) ** 2, cells, cells)
                add(f"{attention}.proj_qkv", 3 * dim, dim, bias=3 * dim)
                add(f"{attention}.proj_out", dim, dim, bias=dim)
                continue
            width, kernel, spread = dim // size.groups[own], (5, 3)[own], 2 * (side // 4 // 2**stage) - 1
            layout[f"{attention}.rpe_table"] = (heads, spread, spread)
            add(f"{attention}.conv_offset.0", width, 1, kernel, kernel, bias=width)
            add(f"{attention}.conv_offset.1.norm", width, bias=width)
            add(f"{attention}.conv_offset.3", 2, width, 1, 1)
            for part in ("q", "k", "v", "out"):
                add(f"{attention}.proj_{part}", dim, dim, 1, 1, bias=dim)
    for stage, (fine, coarse) in enumerate(pairwise(dims)):
        add(f"down_projs.{stage}.0", coarse, fine, 2, 2)
        add(f"down_projs.{stage}.1.norm", coarse, bias=coarse)
    add("cls_norm.norm", dims[-1], bias=dims[-1])
    add("cls_head", 1000, dims[-1], bias=1000)
    return layout
