"""A mixture of logistic experts for each class: the classifier of the YouTube-8M starter code (yt8m_text, 3.1)."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional


def normalised(blocks: Sequence[torch.Tensor], how: Literal["blocks", "concatenation"]) -> torch.Tensor:
    """Features of several kinds (…, dimensions of each) as one vector of length 1 (…, sum of the dimensions).

    The starter code scales the concatenation to length 1. With `blocks` every kind is scaled to length 1 before that,
    so that none drowns the others; a block of zeros stays one.
    """
    parts = [functional.normalize(block, dim=-1) for block in blocks] if how == "blocks" else list(blocks)
    return functional.normalize(torch.cat(parts, dim=-1), dim=-1)


class MixtureOfExperts(nn.Module):
    """For each class a softmax gate over `experts` logistic regressions and a dummy that always says 0.

    p(class) = sum over k <= experts of gate_k sigmoid(expert_k): what the gate gives to the dummy, its last output,
    lowers the probability. Gates have no bias. Weights are Xavier-uniform, biases zero.
    """

    def __init__(self, inputs: int, classes: int, experts: int) -> None:
        super().__init__()
        self.classes, self.count = classes, experts
        self.gates = nn.Linear(inputs, classes * (experts + 1), bias=False)
        self.experts = nn.Linear(inputs, classes * experts)
        nn.init.xavier_uniform_(self.gates.weight)
        nn.init.xavier_uniform_(self.experts.weight)
        nn.init.zeros_(self.experts.bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, inputs) to probabilities (batch, classes), in float32."""
        gates = self.gates(features).float().unflatten(1, (self.classes, self.count + 1)).softmax(2)
        experts = self.experts(features).float().unflatten(1, (self.classes, self.count)).sigmoid()
        return (gates[:, :, : self.count] * experts).sum(2)

    def regularised(self) -> Iterator[torch.Tensor]:
        """The weight matrices that the starter code's L2 penalty covers."""
        yield self.gates.weight
        yield self.experts.weight
