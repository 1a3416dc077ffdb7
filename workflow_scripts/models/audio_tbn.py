"""The audio stream of the temporal binding network, a baseline of EPIC-KITCHENS-100.

Kazakos et al., "EPIC-Fusion", ICCV 2019, sections 3 and 4: BN-Inception on log spectrograms of 1.28 s, several of them
a clip, whose logits are averaged. BN-Inception: Ioffe and Szegedy, "Batch normalization", ICML 2015, figure 5. Keys of
its weights are those of the file ported from Caffe.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.models.audio_parts import Heads, Pointwise, views
from workflow_scripts.models.pretrained import put, read_weights

# Channels of an inception module: of its 1x1, of the 1x1 and the 3x3, of the 1x1 and both 3x3, of the 1x1 behind its
# pool. Those with 0 first halve the resolution, and pass on the maximum instead of a projection.
MODULES = {
    "3a": (64, (64, 64), (64, 96), 32),
    "3b": (64, (64, 96), (64, 96), 64),
    "3c": (0, (128, 160), (64, 96), 0),
    "4a": (224, (64, 96), (96, 128), 128),
    "4b": (192, (96, 128), (96, 128), 128),
    "4c": (160, (128, 160), (128, 160), 128),
    "4d": (96, (128, 192), (160, 192), 128),
    "4e": (0, (128, 192), (192, 256), 0),
    "5a": (352, (192, 320), (160, 224), 128),
    "5b": (352, (192, 320), (192, 224), 128),
}
MAXIMUM = "5b"  # pools the maximum, the others of full resolution the mean
STRIDE = 32


class BnInception(nn.Module):
    """(n, 1, height, width), both sides multiples of 32, to (n, `outputs`). `width` scales all channels."""

    def __init__(self, width: float = 1.0, modules: Sequence[str] = tuple(MODULES)) -> None:
        super().__init__()
        self.scale, self.names = width, tuple(modules)
        self.add("conv1_7x7_s2", 1, 64, 7, 2)
        self.add("conv2_3x3_reduce", self.scaled(64), 64, 1)
        self.add("conv2_3x3", self.scaled(64), 192, 3)
        channels = self.scaled(192)
        for name in self.names:
            if name not in MODULES:
                raise UserError(f"BN-Inception has no module '{name}'{did_you_mean(name, MODULES)}")
            channels = self.add_inception(name, channels)
        self.outputs = channels

    def scaled(self, channels: int) -> int:
        return round(channels * self.scale)

    def add(self, name: str, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        """A convolution and its batch norm."""
        channels = self.scaled(outputs)
        if kernel == 1:
            layer: nn.Conv2d = Pointwise(inputs, channels)
        else:
            layer = nn.Conv2d(inputs, channels, kernel, stride, kernel // 2)
        self.add_module(name, layer)
        self.add_module(f"{name}_bn", nn.BatchNorm2d(channels))

    def add_inception(self, name: str, inputs: int) -> int:
        """The layers of a module of MODULES; returns its channels."""
        single, (reduced, middle), (double_reduced, double), projected = MODULES[name]
        stride = 1 if single else 2
        prefix = f"inception_{name}"
        self.add(f"{prefix}_3x3_reduce", inputs, reduced, 1)
        self.add(f"{prefix}_3x3", self.scaled(reduced), middle, 3, stride)
        self.add(f"{prefix}_double_3x3_reduce", inputs, double_reduced, 1)
        self.add(f"{prefix}_double_3x3_1", self.scaled(double_reduced), double, 3)
        self.add(f"{prefix}_double_3x3_2", self.scaled(double), double, 3, stride)
        if not single:
            return self.scaled(middle) + self.scaled(double) + inputs
        self.add(f"{prefix}_1x1", inputs, single, 1)
        self.add(f"{prefix}_pool_proj", inputs, projected, 1)
        return sum(map(self.scaled, (single, middle, double, projected)))

    def unit(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = F.relu(self.get_submodule(f"{name}_bn")(self.get_submodule(name)(x)), inplace=True)
        return x

    def inception(self, name: str, x: Tensor) -> Tensor:
        prefix = f"inception_{name}"
        middle = self.unit(x, f"{prefix}_3x3_reduce", f"{prefix}_3x3")
        double = self.unit(x, *(f"{prefix}_double_3x3_{part}" for part in ("reduce", "1", "2")))
        if not MODULES[name][0]:
            return torch.cat([middle, double, halved(x)], dim=1)
        pooled = F.max_pool2d(x, 3, 1, 1) if name == MAXIMUM else F.avg_pool2d(x, 3, 1, 1)
        single, projected = self.unit(x, f"{prefix}_1x1"), self.unit(pooled, f"{prefix}_pool_proj")
        return torch.cat([single, middle, double, projected], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        x = halved(self.unit(x, "conv1_7x7_s2"))
        x = halved(self.unit(x, "conv2_3x3_reduce", "conv2_3x3"))
        for name in self.names:
            x = self.inception(name, x)
        return x.mean((2, 3))


def halved(x: Tensor) -> Tensor:
    """The maxima of 3x3 neighbourhoods, of half the height and width."""
    return F.max_pool2d(x, 3, 2, ceil_mode=True)


class AudioTbn(nn.Module):
    """Segments of a spectrogram through BN-Inception, their logits averaged.

    `segment_frames`: frames of a segment; `train_segments` are drawn at random from equal parts of the clip,
    `test_segments` lie at even distances. `checkpoint`: BN-Inception of ImageNet, its colours averaged.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        heads: Mapping[str, int],
        segment_frames: int = 256,
        train_segments: int = 3,
        test_segments: int = 25,
        width: float = 1.0,
        modules: Sequence[str] = tuple(MODULES),
        dropout: float = 0.5,
        checkpoint: Path | str | None = None,
    ) -> None:
        super().__init__()
        if segment_frames % STRIDE or shape[1] % STRIDE:
            sides = f"{segment_frames} frames x {shape[1]} bins"
            raise UserError(f"segments of {sides} do not fit BN-Inception: both must be multiples of {STRIDE}")
        self.segment_frames, self.segments = segment_frames, (test_segments, train_segments)
        self.trunk = BnInception(width, modules)
        self.dropout = nn.Dropout(dropout)
        self.heads = Heads(self.trunk.outputs, heads)
        self.heads.initialise(0.001)
        if checkpoint is not None:
            put(self.trunk, grey(read_weights(Path(checkpoint))), Path(checkpoint))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Spectrograms (batch, frames, bins) to logits by head."""
        count = self.segments[self.training]
        pieces = views(x, self.segment_frames, count, random=self.training).flatten(0, 1)
        features = self.dropout(self.trunk(pieces.transpose(1, 2).unsqueeze(1)))
        return {name: logits.unflatten(0, (-1, count)).mean(1) for name, logits in self.heads(features).items()}


def grey(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights for one channel, the mean over the colours, without the classifier of ImageNet."""
    adapted = {key: value for key, value in state.items() if not key.startswith(("last_linear.", "fc."))}
    if (kernel := adapted.get("conv1_7x7_s2.weight")) is not None:
        adapted["conv1_7x7_s2.weight"] = kernel.mean(1, keepdim=True)
    return adapted
