"""Ways to fuse the features of an image and of a sound (nora_fusion, sections 1.4 and 1.6).

The paper's formulas leave out biases, the number of attention heads and the rank of the factorised bilinear fusion;
those are as in the author's code.
"""

from collections.abc import Callable

import torch
from torch import nn


class Fusion(nn.Module):
    """From image and audio features, each (batch, inner), to fused ones (batch, `width`)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width


class Concatenation(Fusion):
    """Both, one behind the other."""

    def __init__(self, inner: int) -> None:
        super().__init__(2 * inner)

    def forward(self, image: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        return torch.cat([image, audio], dim=1)


class Addition(Fusion):
    """The sum."""

    def forward(self, image: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        return image + audio


class Multiplication(Fusion):
    """The product of each pair of features.

    The features arrive after dropout, so in training a product survives only where both factors do: a quarter of them
    at the paper's rate of 0.5.
    """

    def forward(self, image: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        return image * audio


class Maximum(Fusion):
    """The larger of each pair of features."""

    def forward(self, image: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        return torch.maximum(image, audio)


class Attention(Fusion):
    """Each attends to the other through one shared multi-head attention; the sum is layer-normalised.

    Each is a sequence of one token, whose attention weight is 1 whatever queries and keys are: the fusion equals
    LayerNorm(Wo Wv (image + audio) + constant), and queries and keys receive no gradient.
    """

    HEADS = 8

    def __init__(self, inner: int) -> None:
        super().__init__(inner)
        self.attention = nn.MultiheadAttention(inner, self.HEADS, batch_first=True)
        self.norm = nn.LayerNorm(inner)

    def forward(self, image: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        image, audio = image.unsqueeze(1), audio.unsqueeze(1)
        of_image, _ = self.attention(image, audio, audio, need_weights=False)
        of_audio, _ = self.attention(audio, image, image, need_weights=False)
        return self.norm(of_image + of_audio).squeeze(1)


class Gated(Fusion):
    """Each gated by a sigmoid of itself, then both together once more (after Arevalo et al. 2017)."""

    def __init__(self, inner: int) -> None:
        super().__init__(2 * inner)
        self.image_gate = nn.Linear(inner, inner)
        self.audio_gate = nn.Linear(inner, inner)
        self.gate = nn.Linear(2 * inner, 2 * inner)

    def forward(self, image: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        both = torch.cat([self.image_gate(image).sigmoid() * image, self.audio_gate(audio).sigmoid() * audio], dim=1)
        return self.gate(both).sigmoid() * both


class Bilinear(Fusion):
    """A bilinear form of all pairs of features for each fused one."""

    def __init__(self, inner: int) -> None:
        super().__init__(inner)
        self.form = nn.Bilinear(inner, inner, inner)

    def forward(self, image: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        return self.form(image, audio)


class FactorizedBilinear(Fusion):
    """A bilinear form of low rank, half of `inner`: both projected, multiplied, projected back."""

    def __init__(self, inner: int) -> None:
        super().__init__(inner)
        self.of_image = nn.Linear(inner, inner // 2)
        self.of_audio = nn.Linear(inner, inner // 2)
        self.back = nn.Linear(inner // 2, inner)

    def forward(self, image: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
        return self.back(self.of_image(image) * self.of_audio(audio))


FUSIONS: dict[str, Callable[[int], Fusion]] = {
    "concatenation": Concatenation,
    "addition": Addition,
    "multiplication": Multiplication,
    "maximum": Maximum,
    "attention": Attention,
    "gated": Gated,
    "bilinear": Bilinear,
    "factorized_bilinear": FactorizedBilinear,
}
