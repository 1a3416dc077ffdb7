"""InceptionTime, a convolutional classifier of time series.

Ismail Fawaz et al., "InceptionTime: finding AlexNet for time series classification", Data Mining and Knowledge
Discovery 34 (2020), section 3. One network, not their ensemble of five; odd kernels one shorter than theirs, so that
"same" padding is symmetric.
"""

from collections.abc import Sequence

import torch
from torch import nn


class Inception(nn.Module):
    """Convolutions of several lengths behind a bottleneck, beside a max pool, concatenated: 4 x `filters` channels."""

    def __init__(self, channels: int, filters: int, kernels: Sequence[int]) -> None:
        super().__init__()
        # a single channel needs no bottleneck
        self.bottleneck = nn.Conv1d(channels, filters, 1, bias=False) if channels > 1 else nn.Identity()
        before = filters if channels > 1 else 1
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, filters, kernel, padding="same", bias=False) for kernel in kernels
        )
        self.pooled = nn.Sequential(nn.MaxPool1d(3, 1, padding=1), nn.Conv1d(channels, filters, 1, bias=False))
        self.norm = nn.BatchNorm1d(filters * (len(kernels) + 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, length) to (batch, filters * (kernels + 1), length)."""
        narrow = self.bottleneck(x)
        parts = [*(convolution(narrow) for convolution in self.convolutions), self.pooled(x)]
        return self.norm(torch.cat(parts, dim=1)).relu()


class InceptionTime(nn.Module):
    """Inception modules with a shortcut over every three, a mean over time, a linear layer.

    `downsample` samples are averaged into one first: 1 in the publication, more to save time.
    """

    def __init__(
        self,
        classes: int = 10,
        depth: int = 6,
        filters: int = 32,
        kernels: Sequence[int] = (39, 19, 9),
        downsample: int = 1,
    ) -> None:
        super().__init__()
        self.downsample = nn.AvgPool1d(downsample)
        width = filters * (len(kernels) + 1)
        self.inceptions = nn.ModuleList(Inception(width if n else 1, filters, kernels) for n in range(depth))
        self.shortcuts = nn.ModuleList(
            nn.Sequential(nn.Conv1d(width if n else 1, width, 1, bias=False), nn.BatchNorm1d(width))
            for n in range(depth // 3)
        )
        self.output = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, 1, samples) to logits (batch, classes)."""
        x = start = self.downsample(x)
        for number, module in enumerate(self.inceptions):
            x = module(x)
            if number % 3 == 2:
                x = start = (self.shortcuts[number // 3](start) + x).relu()
        return self.output(x.mean(2))
