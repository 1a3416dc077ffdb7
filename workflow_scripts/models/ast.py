"""The audio spectrogram transformer.

Gong, Chung and Glass, "AST: Audio Spectrogram Transformer", Interspeech 2021, section 2: a distilled DeiT (Touvron et
al. 2021, timm's implementation) that reads overlapping patches of a spectrogram, with the weights of ImageNet.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from timm.layers.patch_embed import PatchEmbed
from timm.models.deit import VisionTransformerDistilled
from torch import Tensor, nn
from torch.nn import functional as F

from workflow_scripts.errors import UserError
from workflow_scripts.models.audio_parts import Heads
from workflow_scripts.models.pretrained import put, read_weights

PREFIX = 2  # tokens before those of the patches: class and distillation


class OverlappingPatches(PatchEmbed):
    """Square patches every `stride` bins and frames, as vectors."""

    def __init__(self, stride: int, **keywords: Any) -> None:
        super().__init__(**keywords)
        sides = zip(self.img_size, self.patch_size, strict=True)
        self.grid_size = tuple((side - patch) // stride + 1 for side, patch in sides)
        self.num_patches = math.prod(self.grid_size)
        self.proj.stride = (stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, bins, frames) to (batch, patches, dims)."""
        for axis, side, step in zip((2, 3), self.patch_size, self.proj.stride, strict=True):
            x = x.unfold(axis, side, step)
        patches = x.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        # A product instead of the convolution, whose gradient takes CPUs several times as long.
        return self.norm(F.linear(patches, self.proj.weight.flatten(1), self.proj.bias))


class Ast(nn.Module):
    """AST for spectrograms of `shape` (frames, bins); the defaults are DeiT-B's."""

    def __init__(
        self,
        shape: tuple[int, int],
        heads: Mapping[str, int],
        dims: int = 768,
        depth: int = 12,
        attention_heads: int = 12,
        patch: int = 16,
        stride: int = 10,
        checkpoint: Path | str | None = None,
    ) -> None:
        super().__init__()
        if min(shape) < patch:
            raise UserError(f"the spectrograms of {shape[0]} frames x {shape[1]} bins are smaller than a {patch}-patch")
        self.trunk = VisionTransformerDistilled(
            img_size=shape[::-1],  # bins x frames
            patch_size=patch,
            in_chans=1,
            num_classes=0,
            embed_dim=dims,
            depth=depth,
            num_heads=attention_heads,
            embed_layer=lambda **keywords: OverlappingPatches(stride, **keywords),
        )
        self.norm = nn.LayerNorm(dims)
        self.heads = Heads(dims, heads)
        if checkpoint is not None:
            put(self.trunk, from_deit(read_weights(Path(checkpoint)), self.grid), Path(checkpoint))

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along the bins and along the frames."""
        return self.trunk.patch_embed.grid_size

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Spectrograms (batch, frames, bins) to logits by head."""
        tokens = self.trunk.forward_features(x.transpose(1, 2).unsqueeze(1))
        return self.heads(self.norm(tokens[:, :PREFIX].mean(1)))


def from_deit(state: Mapping[str, Tensor], grid: tuple[int, int]) -> dict[str, Tensor]:
    """The weights of a distilled DeiT on square images, for one channel and `grid` patches (AST, section 2.2).

    The patch kernel is summed over the colours; positions are cut from the middle of the square along a shorter side
    and interpolated along a longer one. The classifiers of ImageNet are left out.
    """
    adapted = {key: value for key, value in state.items() if not key.startswith("head")}
    if (kernel := adapted.get("patch_embed.proj.weight")) is not None:
        adapted["patch_embed.proj.weight"] = kernel.sum(1, keepdim=True)
    if (positions := adapted.get("pos_embed")) is not None:
        prefix, square = positions[:, :PREFIX], positions[:, PREFIX:]
        side = math.isqrt(square.shape[1])
        planes = square.transpose(1, 2).unflatten(2, (side, side))
        planes = fit(fit(planes, 3, grid[1]), 2, grid[0])
        adapted["pos_embed"] = torch.cat([prefix, planes.flatten(2).transpose(1, 2)], dim=1)
    return adapted


def fit(planes: Tensor, axis: int, size: int) -> Tensor:
    """Planes (1, dims, height, width) with `size` values along `axis`: their middle, or interpolated bilinearly."""
    old = planes.shape[axis]
    if size <= old:
        return planes.narrow(axis, old // 2 - size // 2, size)
    sizes = [size if axis == place else planes.shape[place] for place in (2, 3)]
    return F.interpolate(planes, size=sizes, mode="bilinear")
