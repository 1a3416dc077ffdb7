"""Convolutions of several widths over the word vectors of a title (yt8m_text, section 3.4)."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional


class TextCNN(nn.Module):
    """Convolutions of the widths 1 … `widths` side by side, their maxima over time, a hidden layer, the classes.

    Every convolution and the hidden layer have batch norm and ReLU. An even width pads one word more on the right, as
    the reference does. Weights are Xavier-uniform, biases zero.
    """

    def __init__(
        self,
        classes: int,
        dimensions: int = 300,
        widths: int = 8,
        filters: int = 512,
        hidden: int = 4096,
        dropout: float = 0.5,
        bn_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        sizes = range(1, widths + 1)
        self.convolutions = nn.ModuleList(nn.Conv1d(dimensions, filters, width) for width in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm1d(filters, eps=1e-3, momentum=bn_momentum) for _ in sizes)
        self.hidden = nn.Linear(widths * filters, hidden)
        self.hidden_norm = nn.BatchNorm1d(hidden, eps=1e-3, momentum=bn_momentum)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, classes)
        for layer in (*self.convolutions, self.hidden, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def features(self, words: torch.Tensor) -> torch.Tensor:
        """Word vectors (batch, words, dimensions), zeros behind the last one, to hidden features (batch, hidden).

        These, before dropout, are what the fusion of text with video reads.
        """
        x = words.transpose(1, 2)
        pooled = [
            norm(convolution(same_padded(x, width))).relu().amax(2)
            for width, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True), 1)
        ]
        return self.hidden_norm(self.hidden(torch.cat(pooled, dim=1))).relu()

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes), in float32, of word vectors (batch, words, dimensions)."""
        return self.output(self.dropout(self.features(words))).float()

    def regularised(self) -> Iterator[torch.Tensor]:
        """The kernels, all of which the reference's L2 penalty covers."""
        for layer in (*self.convolutions, self.hidden, self.output):
            yield layer.weight


def same_padded(x: torch.Tensor, width: int) -> torch.Tensor:
    """(batch, channels, time) with zeros around, so that a convolution keeps the time; the right has the odd one."""
    return functional.pad(x, ((width - 1) // 2, width // 2))
