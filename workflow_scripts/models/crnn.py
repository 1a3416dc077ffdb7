"""A convolutional recurrent network for sound event detection that can fuse pretrained feature streams.

Boes & Van hamme, "Audiovisual transfer learning for audio tagging and sound event detection", Interspeech 2021,
sections 2.1 and 3.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn

from workflow_scripts.models.gru import BidirectionalGRU
from workflow_scripts.models.pooling import linear_softmax


class Standardise(nn.Module):
    """(x - mean) / deviation for every feature dimension, the statistics being stored with the weights."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("deviation", torch.ones(dimensions))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(batch, frames, dimensions) to the same shape."""
        return (features - self.mean) / self.deviation


class Convolutions(nn.Sequential):
    """Stacks of convolution, batch norm, ReLU, dropout and average pooling that reduce the frequency axis to one.

    `pools` holds a (time, frequency) kernel, equal to its stride, for every entry of `channels`.
    """

    def __init__(self, channels: Sequence[int], pools: Sequence[tuple[int, int]], kernel: int, dropout: float) -> None:
        super().__init__()
        before = 1
        for number, (after, pool) in enumerate(zip(channels, pools, strict=True)):
            stack = nn.Sequential()
            stack.add_module("convolution", nn.Conv2d(before, after, kernel, padding=kernel // 2))
            stack.add_module("norm", nn.BatchNorm2d(after))
            stack.add_module("relu", nn.ReLU())
            stack.add_module("dropout", nn.Dropout(dropout))
            stack.add_module("pool", nn.AvgPool2d(pool))
            self.add_module(str(number), stack)
            before = after

    def forward(self, spectrum: torch.Tensor) -> torch.Tensor:
        """(batch, frames, bands) to (batch, pooled frames, channels)."""
        return super().forward(spectrum.unsqueeze(1)).squeeze(3).transpose(1, 2)


class Projection(nn.Sequential):
    """A pretrained stream's linear layer, ReLU and dropout (section 3)."""

    def __init__(self, dimensions: int, size: int, dropout: float) -> None:
        super().__init__(nn.Linear(dimensions, size), nn.ReLU(), nn.Dropout(dropout))


class CRNN(nn.Module):
    """Convolutions on a spectral stream and projections of pretrained ones, a bidirectional GRU, frame probabilities.

    `dimensions` gives the feature size of every stream. `spectral` names the stream that the convolutions read, or is
    None; `projections` maps every pretrained stream to its embedding size; streams in `standardise` are standardised
    with the buffers `standardise.<stream>.mean` and `.deviation`. Raises ValueError when the pools do not reduce the
    frequency axis to one, or no stream is left.
    """

    def __init__(
        self,
        *,
        classes: int,
        dimensions: Mapping[str, int],
        spectral: str | None,
        projections: Mapping[str, int],
        channels: Sequence[int],
        pools: Sequence[tuple[int, int]],
        kernel: int,
        dropout: float,
        hidden: int,
        layers: int,
        standardise: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.spectral = spectral
        self.standardise = nn.ModuleDict({name: Standardise(dimensions[name]) for name in standardise})
        if spectral is not None:
            bands = dimensions[spectral]
            for _, factor in pools:
                bands //= factor
            if bands != 1:
                raise ValueError(f"the pools reduce {dimensions[spectral]} bands of '{spectral}' to {bands}, not to 1")
            convolutions = Convolutions(channels, pools, kernel, dropout)
            self.convolutions = convolutions.to(memory_format=torch.channels_last)  # takes less time on CPUs and GPUs
        self.projections = nn.ModuleDict(
            {name: Projection(dimensions[name], size, dropout) for name, size in projections.items()}
        )
        width = sum(projections.values()) + (channels[-1] if spectral is not None else 0)
        if not width:
            raise ValueError("no stream to read: give a spectral stream or projections")
        self.gru = BidirectionalGRU(width, hidden, layers)
        self.output = nn.Linear(2 * hidden, classes)

    def forward(self, features: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Clip probabilities (batch, classes) and frame probabilities (batch, frames, classes), in float32.

        The spectral stream is (batch, input frames, bands); the others are already aligned to the output frames.
        """
        ready = {name: self.standardise[name](x) if name in self.standardise else x for name, x in features.items()}
        embeddings = [projection(ready[name]) for name, projection in self.projections.items()]
        if self.spectral is not None:
            embeddings.insert(0, self.convolutions(ready[self.spectral]))
        recurrent, _ = self.gru(torch.cat(embeddings, dim=2))
        frames = self.output(recurrent).float().sigmoid()
        return linear_softmax(frames), frames


def pooled_frames(frames: int, pools: Sequence[tuple[int, int]]) -> int:
    """How many frames are left of `frames` after the pools."""
    for factor, _ in pools:
        frames //= factor
    return frames


def convolution_table(model: CRNN) -> list[dict[str, Any]]:
    """One row for each convolution stack, read off the built modules (the paper's tables 1 and 2)."""
    rows = []
    for number, stack in enumerate(model.convolutions if model.spectral is not None else ()):
        convolution = cast(nn.Conv2d, stack.get_submodule("convolution"))
        pool = cast(nn.AvgPool2d, stack.get_submodule("pool"))
        rows.append(
            {
                "stack": number,
                "kernel": convolution.kernel_size,
                "stride": convolution.stride,
                "channels": convolution.out_channels,
                "pool": pool.kernel_size,
                "pool_stride": pool.stride,
            }
        )
    return rows
