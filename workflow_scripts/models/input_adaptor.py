"""What happens to a spectrogram before the network sees it: the learnable adaptor, or noise in its place.

DATAR, section 3.2, eq. 5, and the perturbations of Table 4.
"""

from typing import Literal

import torch
from torch import Tensor, nn


class InputAdaptor(nn.Module):
    """x + weight * (b + W * x), with a convolution W that keeps the size (DATAR, eq. 5).

    `weight` is λ, which is fixed. With more than one channel the spectrogram is repeated for each.
    """

    def __init__(self, weight: float, kernel: int = 3, channels: int = 1) -> None:
        super().__init__()
        self.weight, self.channels = weight, channels
        self.convolution = nn.Conv2d(channels, channels, kernel, padding="same")

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, rows, columns) to (batch, channels, rows, columns)."""
        x = x.expand(-1, self.channels, -1, -1)
        return x + self.weight * self.convolution(x)


class Perturbation(nn.Module):
    """x + scale * n, with n from the standard normal or the standard Laplace distribution, anew for each value.

    Only while training, unless `at_test`.
    """

    def __init__(self, kind: Literal["gauss", "laplace"], scale: float, at_test: bool = False) -> None:
        super().__init__()
        self.kind, self.scale, self.at_test = kind, scale, at_test

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training or self.at_test):
            return x
        if self.kind == "gauss":
            noise = torch.randn_like(x)
        else:
            # The difference of two exponential variables is a Laplace variable.
            noise = torch.empty_like(x).exponential_() - torch.empty_like(x).exponential_()
        return x + self.scale * noise
