"""What classifiers of log spectrograms (batch, frames, bins) share: their heads, and pieces of clips."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Pointwise(nn.Conv2d):
    """A convolution of single cells, (batch, channels, rows, columns) in and out.

    On CPUs it is a product with all cells, which takes half the time of PyTorch's convolution of few channels.
    """

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int] = (1, 1), bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, stride, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return super().forward(x)
        cells = x.permute(0, 2, 3, 1)[:, :: self.stride[0], :: self.stride[1]]
        return F.linear(cells, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)


class Heads(nn.ModuleDict):
    """A linear classifier for each name, all on the same features."""

    def __init__(self, features: int, heads: Mapping[str, int]) -> None:
        super().__init__({name: nn.Linear(features, classes) for name, classes in heads.items()})

    def initialise(self, std: float) -> None:
        """Small normal weights and no bias, instead of PyTorch's initial values."""
        for head in self.modules():
            if isinstance(head, nn.Linear):
                nn.init.normal_(head.weight, std=std)
                nn.init.zeros_(head.bias)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(…, features) to logits (…, classes) by name."""
        return {name: head(x) for name, head in self.items()}


def views(x: Tensor, frames: int, count: int, random: bool) -> Tensor:
    """Pieces of `frames` frames out of (batch, time, bins): (batch, count, frames, bins).

    The part of a clip in which anything changes is read, so that the padding behind a short clip is not; where that
    part is shorter than a piece, its last frame is repeated, as Kazakos et al. 2021 do. `random`: one piece from each
    of `count` equal parts of the possible beginnings; otherwise at even distances from the beginning to the end.
    """
    batch, time, _ = x.shape
    step = torch.arange(time, device=x.device)
    changes = (x != x[:, -1:]).any(2)
    lengths = ((step + 2) * changes).amax(1).clamp(1, time)[:, None]  # the first frame of the padding is kept
    if random:
        places = (torch.arange(count, device=x.device) + torch.rand(batch, count, device=x.device)) / count
    else:
        places = torch.linspace(0, 1, count, device=x.device)
    starts = (places * (lengths - frames).clamp(min=0)).long().expand(batch, count)
    chosen = starts[:, :, None] + torch.arange(frames, device=x.device)
    chosen = chosen.minimum(lengths[:, :, None] - 1)
    return x[torch.arange(batch, device=x.device)[:, None, None], chosen]
