"""The deformable audio transformer: a pyramid of local, shifted-window and deformable attention over a spectrogram.

Xia et al. 2022 (DAT), section 3.3 and Table 1, in the layout of its published weights; DATAR, section 3. Feature maps
are (batch, rows, columns, channels); rows are mel bands and columns are frames.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from workflow_scripts.errors import UserError
from workflow_scripts.models.audio_parts import Heads
from workflow_scripts.models.dat_checkpoint import load_square
from workflow_scripts.models.deformable_attention import DeformableAttention, RefGrid
from workflow_scripts.models.input_adaptor import InputAdaptor, Perturbation
from workflow_scripts.models.window_attention import WindowAttention

PATCH = 4
EXPANSION = 4
Deform = Literal["deform", "no_offs", "swin"]
Window = tuple[int, int]
Windows = Sequence[int] | Sequence[Sequence[int]]


class Size(NamedTuple):
    """Widths, depths and heads of the stages; as many last stages as there are `groups` have deformable attention."""

    dims: Sequence[int]
    depths: Sequence[int]
    heads: Sequence[int]
    groups: Sequence[int]
    drop_path: float = 0.0


SIZES = {
    "tiny": Size((96, 192, 384, 768), (2, 2, 6, 2), (3, 6, 12, 24), (3, 6), 0.2),
    "small": Size((96, 192, 384, 768), (2, 2, 18, 2), (3, 6, 12, 24), (3, 6), 0.3),
    "base": Size((128, 256, 512, 1024), (2, 2, 18, 2), (4, 8, 16, 32), (4, 8), 0.5),
}


def size_of(size: str | Mapping[str, Any]) -> Size:
    """A published size by its name, or one given by the fields of `Size`; a `UserError` where they do not fit."""
    if isinstance(size, str):
        if size not in SIZES:
            raise UserError(
                f"size: '{size}' is none of {', '.join(SIZES)}; give one of them, or dims, depths, heads, groups"
            )
        return SIZES[size]
    made = Size(**size)
    if not len(made.dims) == len(made.depths) == len(made.heads) >= len(made.groups):
        raise UserError("size: dims, depths and heads need one number a stage, groups one for each deformable stage")
    first_deformable = len(made.dims) - len(made.groups)
    groups = [1] * first_deformable + [*made.groups]
    for dim, heads, own in zip(made.dims, made.heads, groups, strict=True):
        if dim % heads or heads % own:
            raise UserError(
                f"size: {dim} channels, {heads} heads and {own} groups: each must be a multiple of the next"
            )
    return made


def window_of(stage: int, stages: int, window: Windows, grid: Window) -> Window:
    """The window of a stage, cut to its map."""
    each = [window] * stages if isinstance(window[0], int) else window
    if len(each) != stages or any(len(pair) != 2 for pair in cast(Sequence[Sequence[int]], each)):
        raise UserError(
            f"window: {list(window)} should be rows and columns, or such a pair for each of {stages} stages"
        )
    rows, columns = cast(Sequence[Sequence[int]], each)[stage]
    return min(rows, grid[0]), min(columns, grid[1])


class Patches(nn.Module):
    """Squares of a map, each one cell of the next: a convolution without overlap, and layer norm."""

    def __init__(self, inputs: int, outputs: int, side: int, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, side, side, bias=bias)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Channels last in and out."""
        side = self.conv.stride[0]
        squares = x.unflatten(1, (-1, side)).unflatten(3, (-1, side)).transpose(2, 3).flatten(3)
        # A product instead of the convolution, whose gradient takes CPUs several times as long.
        return self.norm(F.linear(squares, self.conv.weight.permute(0, 2, 3, 1).flatten(1), self.conv.bias))


class Block(nn.Module):
    """Attention and a perceptron, each behind layer norm and beside an identity (DATAR, section 3.1)."""

    def __init__(self, dim: int, attention: nn.Module, drop_path: float) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(dim), attention
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, EXPANSION * dim), nn.GELU(), nn.Linear(EXPANSION * dim, dim))
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attention(self.attention_norm(x)))
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


class Dat(nn.Module):
    """The trunk: from an image to the mean of its last feature map, (batch, last of `size.dims`).

    `shape` is the rows and columns of the input. `window` holds the rows and columns of windows, for all stages or
    for each; a window never exceeds its map. Other parameters: see `Datar`.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        channels: int,
        size: Size,
        window: Windows = (8, 8),
        offset_kernel: Sequence[int] = (5, 3),
        offset_norm: bool = True,
        offset_stride: int = 1,
        offset_range: float = 2,
        ref_grid: RefGrid = "paper",
        deform: Deform = "deform",
    ) -> None:
        super().__init__()
        stages = len(size.dims)
        whole = PATCH * 2 ** (stages - 1)
        if shape[0] % whole or shape[1] % whole:
            raise UserError(
                f"an input of {shape[0]} bands x {shape[1]} frames does not fit {stages} stages: "
                f"both must be multiples of {whole}"
            )
        if len(offset_kernel) != len(size.groups):
            raise UserError(
                f"offset_kernel: {len(offset_kernel)} sizes for {len(size.groups)} deformable stages; give one each"
            )
        plain = stages - len(size.groups)
        rates = iter(torch.linspace(0, size.drop_path, sum(size.depths), device="cpu").tolist())
        self.patch_proj = Patches(channels, size.dims[0], PATCH, bias=True)
        self.stages = nn.ModuleList()
        for stage, (dim, depth, heads) in enumerate(zip(size.dims, size.depths, size.heads, strict=True)):
            grid = (shape[0] // PATCH // 2**stage, shape[1] // PATCH // 2**stage)
            windows = partial(WindowAttention, dim, heads, grid, window_of(stage, stages, window, grid))
            makers: list[Callable[[], nn.Module]] = [partial(windows, shifted=False), partial(windows, shifted=True)]
            if stage >= plain and deform != "swin":
                own = stage - plain
                makers[1] = partial(
                    DeformableAttention,
                    dim,
                    heads,
                    size.groups[own],
                    grid,
                    offset_kernel[own],
                    offset_stride,
                    offset_range,
                    offset_norm,
                    ref_grid,
                    moving=deform == "deform",
                )
            blocks = (Block(dim, makers[place % 2](), next(rates)) for place in range(depth))
            self.stages.append(nn.Sequential(*blocks))
        self.down_projs = nn.ModuleList(Patches(fine, coarse, 2, bias=False) for fine, coarse in pairwise(size.dims))
        self.cls_norm = nn.LayerNorm(size.dims[-1])

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, rows, columns) to (batch, dim)."""
        x = self.patch_proj(x.permute(0, 2, 3, 1))
        x = self.stages[0](x)
        for down, stage in zip(self.down_projs, self.stages[1:], strict=True):
            x = stage(down(x))
        return self.cls_norm(x).mean((1, 2))


class Datar(nn.Module):
    """Class scores of log-mel features by a deformable audio transformer.

    shape: frames and bands of the features. heads: number of classes of each classification head.
    size: a name in `SIZES`, or the fields of `Size`. window: rows (mel) and columns (frames) of attention windows.
    offset_kernel: side of the offset generators' convolutions, for each deformable stage; offset_norm: layer norm in
    them; offset_stride: subsampling of sampled points; offset_range: farthest offset in halves of the points' spacing.
    deform: `deform`; `no_offs`, the same without offsets; `swin`, shifted windows in the place of deformable attention.
    adaptor, perturbation: fields of `InputAdaptor` and `Perturbation`. drop_path: instead of that of the size.
    checkpoint: published ImageNet weights to start from (`dat_checkpoint`).
    """

    def __init__(
        self,
        shape: tuple[int, int],
        heads: Mapping[str, int],
        size: str | Mapping[str, Any] = "base",
        window: Windows = (8, 8),
        offset_kernel: Sequence[int] = (5, 3),
        offset_norm: bool = True,
        offset_stride: int = 1,
        offset_range: float = 2,
        ref_grid: RefGrid = "paper",
        deform: Deform = "deform",
        adaptor: Mapping[str, Any] | None = None,
        perturbation: Mapping[str, Any] | None = None,
        drop_path: float | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        super().__init__()
        frames, bands = shape
        chosen = size_of(size)
        if drop_path is not None:
            chosen = chosen._replace(drop_path=drop_path)
        self.perturbation = Perturbation(**perturbation) if perturbation else nn.Identity()
        self.adaptor = InputAdaptor(**adaptor) if adaptor else nn.Identity()
        channels = self.adaptor.channels if isinstance(self.adaptor, InputAdaptor) else 1
        self.trunk = Dat(
            (bands, frames),
            channels,
            chosen,
            window,
            offset_kernel,
            offset_norm,
            offset_stride,
            offset_range,
            ref_grid,
            deform,
        )
        if checkpoint is not None:
            load_square(self.trunk, checkpoint)
        self.heads = Heads(chosen.dims[-1], heads)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """(batch, frames, bands) to the logits of each head, (batch, classes)."""
        return self.heads(self.trunk(self.adapted(features)))

    def adapted(self, features: Tensor) -> Tensor:
        """What the trunk sees of (batch, frames, bands), (batch, channels, bands, frames)."""
        return self.adaptor(self.perturbation(features.transpose(1, 2)[:, None]))
