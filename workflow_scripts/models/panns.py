"""PANNs' convolutional networks as encoders: embeddings of the frames of waveforms at 32 kHz.

Kong et al., "PANNs: Large-scale pretrained audio neural networks for audio pattern recognition", IEEE/ACM TASLP 2020,
sections II and IV. The keys of the weights are those of the published files; their classifiers, which clips have and
frames have not, are left out. Every encoder returns embeddings (batch, frames, dims) and a mask of the valid frames.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.functional import mask_along_axis_iid

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.models.pretrained import put, read_weights

SAMPLE_RATE = 32_000
WINDOW, HOP = 1024, 320
BANDS, LOWEST, HIGHEST = 64, 50, 14_000
FLOOR = 1e-10  # power below which decibels are not taken
# What published files hold beside the convolutions: tables of numbers of the front end, and classifiers.
DISPENSABLE = ("spectrogram_extractor.", "logmel_extractor.", "fc1.", "fc_audioset.")


class Size(NamedTuple):
    """Output channels of the blocks, and by how much each shrinks time and frequency."""

    channels: Sequence[int]
    pools: Sequence[int]


SIZES = {
    "cnn14": Size((64, 128, 256, 512, 1024, 2048), (2, 2, 2, 2, 2, 1)),
    "cnn10": Size((64, 128, 256, 512), (2, 2, 2, 2)),
}


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """(batch, size): whether a place is one of the first `lengths` (batch,)."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


class LogMel(nn.Module):
    """Power in mel bands, in decibels, of Hann windows around every 320th sample of a reflected waveform."""

    def __init__(self) -> None:
        super().__init__()
        from librosa.filters import mel

        filters = mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=BANDS, fmin=LOWEST, fmax=HIGHEST)
        self.window: Tensor
        self.filters: Tensor
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) in [-1, 1] to (batch, samples // 320 + 1, 64), always in float32."""
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = torch.stft(waveform.float(), WINDOW, HOP, window=self.window, return_complex=True)
            power = self.filters @ (spectrum.real.square() + spectrum.imag.square())
            return 10 * power.clamp_min(FLOOR).log10().transpose(1, 2)


class SpecAugment(nn.Module):
    """Stripes of frames and of bands set to zero while training (Park et al. 2019; the widths are those of PANNs)."""

    def __init__(self, stripes: int = 2, frames: int = 64, bands: int = 8) -> None:
        super().__init__()
        self.stripes, self.frames, self.bands = stripes, frames, bands

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, bands); every clip has its own stripes."""
        if self.training:
            for axis, width in ((1, self.frames), (2, self.bands)):
                for _ in range(self.stripes):
                    x = mask_along_axis_iid(x, min(width, x.shape[axis]), 0.0, axis)
        return x


class ConvBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm and ReLU, then average pooling and dropout."""

    def __init__(self, inputs: int, outputs: int, pool: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.pool = nn.AvgPool2d(pool)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.conv1.weight)
        nn.init.xavier_uniform_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs, frames, bands) to (batch, outputs, frames / pool, bands / pool)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return self.dropout(self.pool(x))


class Panns(nn.Module):
    """Cnn14, Cnn10 or a network of another `size`, up to the embeddings of frames.

    `frozen` weights are not trained, and batch norms and dropout stay as in evaluation, unless it is the `weights`
    alone that are frozen; the stripes of `augment` are drawn while training all the same. `checkpoint`: published
    weights to start from.
    """

    def __init__(
        self,
        size: str | Mapping[str, Any] = "cnn14",
        dropout: float = 0.2,
        augment: bool = True,
        frozen: bool | Literal["weights"] = False,
        checkpoint: Path | str | None = None,
    ) -> None:
        super().__init__()
        if isinstance(size, str):
            if size not in SIZES:
                raise UserError(f"there is no network '{size}' of PANNs{did_you_mean(size, SIZES)}")
            channels, self.pools = SIZES[size]
        else:
            channels, self.pools = Size(**size)
        self.reduction = math.prod(self.pools)  # of time: log-mel frames to an embedding
        if len(channels) != len(self.pools) or not 1 <= self.reduction <= BANDS:
            raise UserError(
                f"'size' of PANNs: {len(channels)} channels and the pools {list(self.pools)} do not fit; "
                f"give one pool for each block, whose product is at most {BANDS}"
            )
        self.dims = channels[-1]
        self.frozen = frozen
        self.log_mel = LogMel()
        self.bn0 = nn.BatchNorm1d(BANDS)
        self.augment = SpecAugment() if augment else nn.Identity()
        for number, (inputs, outputs, pool) in enumerate(
            zip([1, *channels], channels, self.pools, strict=False), start=1
        ):
            self.add_module(f"conv_block{number}", ConvBlock(inputs, outputs, pool, dropout))
        if checkpoint is not None:
            self.load(Path(checkpoint))
        if frozen:
            self.requires_grad_(False)

    def load(self, path: Path) -> None:
        """Takes published weights; a `UserError` names the first key that another network's file differs in."""
        state = {key: value for key, value in read_weights(path).items() if not key.startswith(DISPENSABLE)}
        put(self, state, path)

    def train(self, mode: bool = True) -> Self:
        """Training mode, in which a network that is frozen whole only draws stripes."""
        super().train(mode)
        if self.frozen is True:
            for child in self.children():
                child.train(mode and isinstance(child, SpecAugment))
        return self

    def feature_map(self, log_mel: Tensor) -> Tensor:
        """What the last block gives for (batch, frames, 64) decibels: (batch, dims, frames, bands), both reduced."""
        x = self.bn0(log_mel.transpose(1, 2)).transpose(1, 2)
        x = self.augment(x).unsqueeze(1)
        for number in range(1, len(self.pools) + 1):
            x = self.get_submodule(f"conv_block{number}")(x)
        return x

    def forward(self, waveform: Tensor, samples: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embeddings (batch, frames, dims), means over frequency, and the mask (batch, frames) of valid ones.

        `waveform` is (batch, samples) at 32 kHz, with zeros behind the `samples` (batch,) that a clip really has; a
        clip alone would have as many embeddings as are valid here, at least one.
        """
        shortest = (self.reduction - 1) * HOP + WINDOW  # a whole embedding, and enough to reflect
        waveform = F.pad(waveform, (0, max(0, shortest - waveform.shape[1])))
        return self.from_log_mel(self.log_mel(waveform), None if samples is None else samples // HOP + 1)

    def from_log_mel(self, log_mel: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As `forward`, of what `LogMel` gives (batch, log-mel frames, 64), the first `frames` (batch,) of it valid."""
        missing = max(0, self.reduction - log_mel.shape[1])
        log_mel = F.pad(log_mel, (0, 0, 0, missing), value=10 * math.log10(FLOOR))
        embeddings = self.feature_map(log_mel).mean(3).transpose(1, 2)
        batch, size, _ = embeddings.shape
        if frames is None:
            return embeddings, torch.ones(batch, size, dtype=torch.bool, device=embeddings.device)
        return embeddings, length_mask((frames // self.reduction).clamp(min=1), size)


class FeatureMap(nn.Module):
    """An encoder's place where the map of a pretrained network was computed beforehand."""

    reduction = 1

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, features: Tensor, frames: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(batch, frames, dims) as they are, and the mask of the first `frames` (batch,), of all where None."""
        if features.shape[2] != self.dims:
            raise UserError(f"features have {features.shape[2]} dimensions instead of {self.dims}")
        if frames is None:
            frames = torch.full(features.shape[:1], features.shape[1], device=features.device)
        return features, length_mask(frames, features.shape[1])
