"""Classes from a histogram of keyword clusters (yt8m_text, section 3.3 and its authors' release)."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn


class KeywordDecoder(nn.Sequential):
    """Counts (batch, clusters) to logits (batch, classes): hidden layers with ReLU and dropout, and a linear one.

    All weights and biases start from a normal distribution with mean 0.001 and deviation 0.02.
    """

    def __init__(self, clusters: int, classes: int, hidden: Sequence[int] = (1024, 2048), dropout: float = 0.2) -> None:
        super().__init__()
        for before, after in zip([clusters, *hidden], hidden, strict=False):
            self.extend([nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)])
        self.append(nn.Linear([clusters, *hidden][-1], classes))
        for parameter in self.parameters():
            nn.init.normal_(parameter, mean=0.001, std=0.02)

    def forward(self, counts: torch.Tensor) -> torch.Tensor:
        """Logits in float32."""
        return super().forward(counts).float()

    def regularised(self) -> Iterator[torch.Tensor]:
        """No weights: the reference has no penalty here."""
        return iter(())
