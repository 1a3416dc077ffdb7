"""YAMNet: a MobileNet v1 that hears the 521 classes of AudioSet in windows of 0.96 s.

Architecture and front end: M. Plakal and D. Ellis, "YAMNet", TensorFlow Model Garden, research/audioset/yamnet;
MobileNet: Howard et al., arXiv:1704.04861. Weights come from a TensorFlow checkpoint, read without TensorFlow.
"""

from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from workflow_scripts.errors import UserError
from workflow_scripts.files import read_csv
from workflow_scripts.formats.tensor_bundle import read_float_arrays

SAMPLE_RATE = 16_000
WINDOW, HOP, FFT = 400, 160, 512  # 25 ms windows every 10 ms
MEL_BANDS, MEL_LOW, MEL_HIGH = 64, 125.0, 7500.0
LOG_OFFSET = 0.001
PATCH_FRAMES = 96
CLASSES, EMBEDDING = 521, 1024
BATCH_NORM_EPSILON = 1e-4
# (output channels, stride) of the depthwise separable blocks that follow the first convolution.
FIRST_CHANNELS = 32
BLOCKS = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
VARIABLE = "layer-1/layer/_func/_yamnet/layer_with_weights-{}/{}/.ATTRIBUTES/VARIABLE_VALUE"


def mel_filters() -> Tensor:
    """Triangular filters in the HTK mel scale, (FFT / 2 + 1, MEL_BANDS); the constant bin belongs to no band."""

    def mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127 * np.log1p(hertz / 700)

    bins = mel(np.linspace(0, SAMPLE_RATE / 2, FFT // 2 + 1))[:, None]
    edges = np.linspace(mel(np.array(MEL_LOW)), mel(np.array(MEL_HIGH)), MEL_BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    filters = np.maximum(0, np.minimum((bins - lower) / (centre - lower), (upper - bins) / (upper - centre)))
    filters[0] = 0
    return torch.from_numpy(filters).float()


class Convolution(nn.Module):
    """A convolution (the batch norm behind it is folded into it) and a ReLU, padded as TensorFlow's "SAME"."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        layer = self.convolution
        # With even input sizes, which these patches have, stride 2 pads one row and column at the end only. That is the
        # same at both sides of a kernel that begins with a zero, and the kernel is far smaller to pad.
        weight = F.pad(layer.weight, (1, 0, 1, 0)) if layer.stride == (2, 2) else layer.weight
        return F.relu(F.conv2d(x, weight, layer.bias, layer.stride, layer.padding, groups=layer.groups), inplace=True)

    def fill(self, kernel: Tensor, mean: Tensor, variance: Tensor, shift: Tensor) -> None:
        """Sets the weights from a kernel (in torch's layout) and the batch norm behind it, which has no scale."""
        scale = torch.rsqrt(variance + BATCH_NORM_EPSILON)
        self.convolution.weight = nn.Parameter(kernel * scale[:, None, None, None])
        self.convolution.bias = nn.Parameter(shift - mean * scale)


class Yamnet(nn.Module):
    """AudioSet scores and embeddings of log-mel patches."""

    def __init__(self) -> None:
        super().__init__()
        layers = [Convolution(1, FIRST_CHANNELS, 3, stride=2)]
        channels = FIRST_CHANNELS
        for outputs, stride in BLOCKS:
            layers += [Convolution(channels, channels, 3, stride, groups=channels), Convolution(channels, outputs, 1)]
            channels = outputs
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(EMBEDDING, CLASSES)
        self.mel: Tensor
        self.window: Tensor
        self.register_buffer("mel", mel_filters())
        self.register_buffer("window", torch.hann_window(WINDOW, periodic=True))

    @classmethod
    def from_bundle(cls, index: Path, data: Path) -> Self:
        """The trained network, in eval mode, from the two files of its TensorFlow checkpoint.

        Raises `UserError` when the files cannot be read or hold another network.
        """
        arrays = read_float_arrays(index, data)

        def array(layer: int, name: str, shape: tuple[int, ...]) -> Tensor:
            found = arrays.get(VARIABLE.format(layer, name))
            if found is None or found.shape != shape:
                problem = "has none" if found is None else f"has shape {found.shape}"
                raise UserError(
                    f"{index}: not YAMNet's checkpoint: '{name}' of layer {layer} should have shape {shape} "
                    f"and {problem}; fetch the asset again"
                )
            return torch.from_numpy(found)

        network = cls()
        # The checkpoint numbers convolutions and batch norms in turn, the classifier last.
        for position, layer in enumerate(network.convolutions()):
            outputs, inputs, *size = layer.convolution.weight.shape
            if layer.convolution.groups == 1:
                kernel = array(2 * position, "kernel", (*size, inputs, outputs)).permute(3, 2, 0, 1)
            else:
                kernel = array(2 * position, "depthwise_kernel", (*size, outputs, 1)).permute(2, 3, 0, 1)
            mean, variance, shift = (
                array(2 * position + 1, name, (outputs,)) for name in ("moving_mean", "moving_variance", "beta")
            )
            layer.fill(kernel, mean, variance, shift)
        last = 2 * len(network.layers)
        network.classifier.weight = nn.Parameter(array(last, "kernel", (EMBEDDING, CLASSES)).T.contiguous())
        network.classifier.bias = nn.Parameter(array(last, "bias", (CLASSES,)))
        # Channels last is the quicker layout on CPUs: 2.3 ms a patch instead of 4.3 in batches of 64 on one core.
        return network.to(memory_format=torch.channels_last).eval()

    def convolutions(self) -> list[Convolution]:
        """The convolutions, first to last."""
        return [layer for layer in self.layers if isinstance(layer, Convolution)]

    def log_mel(self, waveform: Tensor) -> Tensor:
        """Log-mel frames every 10 ms, (batch, frames, 64), of (batch, samples) at 16 kHz in [-1, 1].

        Frames are whole windows, (samples - 400) // 160 + 1 of them; a waveform shorter than one patch
        (15,600 samples) is zero-padded to it.
        """
        shortest = WINDOW + (PATCH_FRAMES - 1) * HOP
        waveform = F.pad(waveform, (0, max(0, shortest - waveform.shape[-1])))
        frames = waveform.unfold(-1, WINDOW, HOP) * self.window
        return torch.log(torch.fft.rfft(frames, FFT).abs() @ self.mel + LOG_OFFSET)

    def patches(self, log_mel: Tensor, hop_frames: int) -> Tensor:
        """Patches of 96 frames every `hop_frames` frames, (batch, n, 96, 64); a last partial patch is left out."""
        return log_mel.unfold(1, PATCH_FRAMES, hop_frames).transpose(2, 3)

    def feature_map(self, patches: Tensor) -> Tensor:
        """What the convolutions give for (n, 96, 64) patches: (n, 1024, 3 in time, 2 in frequency)."""
        return self.layers(patches[:, None])

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Class scores in [0, 1], (n, 521), and embeddings, (n, 1024), of (n, 96, 64) patches."""
        embeddings = self.feature_map(patches).mean((2, 3))
        return torch.sigmoid(self.classifier(embeddings)), embeddings


def class_names(path: Path) -> list[str]:
    """The 521 display names in the order of the scores, from `yamnet_class_map.csv`."""
    names = [row["display_name"] for _, row in read_csv(path, ["display_name"])]
    if len(names) != CLASSES or not all(names):
        raise UserError(f"{path}: expected {CLASSES} rows with a display_name, found {len(names)}; fetch it again")
    return names
