"""Convolutional classifiers of images, of raw audio, and of both.

They are those of nora_fusion (sections 1.1, 1.2 and 1.5); what its text leaves open, such as the place of the dropout,
is as in the author's code.
"""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from workflow_scripts.models.fusion import FUSIONS, Fusion
from workflow_scripts.models.inception_time import InceptionTime


class SameConv1d(nn.Conv1d):
    """A strided convolution padded so that ceil(length / stride) values come out; an odd one more goes to the right."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, channels, length) to (batch, new channels, ceil(length / stride))."""
        length, (kernel,), (stride,) = x.shape[2], self.kernel_size, self.stride
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        return super().forward(functional.pad(x, (total // 2, total - total // 2)))


class ConvNet(nn.Module):
    """Convolutions, then a linear layer of `inner` units and one of the classes."""

    def __init__(self, convolutions: nn.Module, flat: int, inner: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.hidden = nn.Linear(flat, inner)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(inner, classes)

    def inner(self, x: torch.Tensor) -> torch.Tensor:
        """The features after the first linear layer, its ReLU and its dropout: (batch, inner)."""
        return self.dropout(self.hidden(self.convolutions(x).flatten(1)).relu())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes)."""
        return self.output(self.inner(x))


class Conv2Net(ConvNet):
    """Classifies images (batch, side, side)."""

    def __init__(
        self,
        classes: int = 10,
        *,
        channels: tuple[int, int] = (32, 64),
        inner: int = 128,
        dropout: float = 0.5,
        side: int = 28,
    ) -> None:
        convolutions = nn.Sequential(
            nn.Unflatten(1, (1, side)),
            nn.Conv2d(1, channels[0], 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(*channels, 3),
            nn.Dropout(dropout),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        left = ((side - 2) // 2 - 2) // 2
        super().__init__(convolutions, channels[1] * left**2, inner, classes, dropout)


class Conv1Net(ConvNet):
    """Classifies sounds (batch, 1, samples)."""

    def __init__(
        self,
        classes: int = 10,
        *,
        channels: tuple[int, int] = (32, 64),
        inner: int = 128,
        dropout: float = 0.5,
        samples: int = 8000,
    ) -> None:
        convolutions = nn.Sequential(
            SameConv1d(1, channels[0], 100, 4),
            nn.ReLU(),
            SameConv1d(*channels, 25, 4),
            nn.Dropout(dropout),
            nn.ReLU(),
        )
        super().__init__(convolutions, channels[1] * -(-samples // 16), inner, classes, dropout)


class Unimodal(nn.Module):
    """A network that reads one of the streams."""

    def __init__(self, stream: str, network: nn.Module) -> None:
        super().__init__()
        self.stream, self.network = stream, network

    def forward(self, streams: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Logits (batch, classes)."""
        return self.network(streams[self.stream])


class Multimodal(nn.Module):
    """Two networks' inner features, fused and classified.

    The networks' own output layers stay unused, as in the author's code.
    """

    def __init__(
        self, image: ConvNet, audio: ConvNet, fusion: Fusion, classes: int, *, head: int = 64, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.image, self.audio, self.fusion = image, audio, fusion
        self.head = nn.Sequential(
            nn.Linear(fusion.width, head), nn.ReLU(), nn.Dropout(dropout), nn.Linear(head, classes)
        )

    def forward(self, streams: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Logits (batch, classes) from the streams `image` and `audio`."""
        return self.head(self.fusion(self.image.inner(streams["image"]), self.audio.inner(streams["audio"])))


def build(
    kind: str,
    fusion: str | None = None,
    *,
    classes: int = 10,
    side: int = 28,
    samples: int = 8000,
    image_channels: tuple[int, int] = (32, 64),
    audio_channels: tuple[int, int] = (32, 64),
    inner: int = 128,
    head: int = 64,
    dropout: float = 0.5,
    depth: int = 6,
    filters: int = 32,
    kernels: tuple[int, ...] = (39, 19, 9),
    downsample: int = 1,
) -> nn.Module:
    """A classifier that turns a mapping of streams into logits (batch, classes).

    `kind` is image, audio, audio_inception_time or multimodal, and `fusion` one of `FUSIONS` for the last. The streams
    are image (batch, side, side) and audio (batch, 1, samples); the last four sizes are those of InceptionTime.
    """
    if kind == "audio_inception_time":
        return Unimodal("audio", InceptionTime(classes, depth, filters, kernels, downsample))
    image = Conv2Net(classes, channels=image_channels, inner=inner, dropout=dropout, side=side)
    if kind == "image":
        return Unimodal("image", image)
    audio = Conv1Net(classes, channels=audio_channels, inner=inner, dropout=dropout, samples=samples)
    if kind == "audio":
        return Unimodal("audio", audio)
    return Multimodal(image, audio, FUSIONS[str(fusion)](inner), classes, head=head, dropout=dropout)
