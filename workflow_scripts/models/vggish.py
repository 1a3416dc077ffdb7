"""VGGish: a VGG network that describes 0.96 s of audio by 128 numbers.

Architecture: Hershey et al., "CNN architectures for large-scale audio classification", ICASSP 2017; front end and
last layers as in Google's published VGGish. Parameter names are those of the PyTorch port torchvggish.
"""

import torch
from torch import Tensor, nn

from workflow_scripts.models.mel import htk_filters, magnitude

SAMPLE_RATE = 16_000
WINDOW, HOP, FFT = 400, 160, 512
PATCH_FRAMES, MEL_BANDS = 96, 64
LOG_OFFSET = 0.01
EMBEDDING = 128
POOL = 0  # in the list of convolutions: halve both sides here
CONVOLUTIONS = [64, POOL, 128, POOL, 256, 256, POOL, 512, 512, POOL]


class Vggish(nn.Module):
    """Embeddings of log-mel patches."""

    def __init__(self, final_relu: bool = False) -> None:
        """`final_relu`: end in a ReLU, as torchvggish does; Google's definition stops before it."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for outputs in CONVOLUTIONS:
            if outputs == POOL:
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(inplace=True)]
                channels = outputs
        self.features = nn.Sequential(*layers)
        flat = (PATCH_FRAMES // 16) * (MEL_BANDS // 16) * channels
        dense: list[nn.Module] = [nn.Linear(flat, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU()]
        last: list[nn.Module] = [nn.Linear(4096, EMBEDDING), *([nn.ReLU()] if final_relu else [])]
        self.embeddings = nn.Sequential(*dense, *last)

    def forward(self, patches: Tensor) -> Tensor:
        """Embeddings (n, 128) of log-mel patches (n, 96, 64)."""
        maps = self.features(patches[:, None])
        return self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))  # channels last, as in TensorFlow


class LogMel(nn.Module):
    """VGGish's front end."""

    def __init__(self) -> None:
        super().__init__()
        self.window: Tensor
        self.filters: Tensor
        self.register_buffer("window", torch.hann_window(WINDOW))
        self.register_buffer("filters", htk_filters(SAMPLE_RATE, FFT, MEL_BANDS, 125.0, 7500.0))

    def forward(self, waveform: Tensor, hop_frames: int) -> Tensor:
        """Patches (batch, n, 96, 64) every `hop_frames` frames of (batch, samples) at 16 kHz in [-1, 1].

        Frames are whole windows, 10 ms apart; a waveform shorter than a patch is zero-padded to one.
        """
        shortest = WINDOW + (PATCH_FRAMES - 1) * HOP
        waveform = nn.functional.pad(waveform, (0, max(0, shortest - waveform.shape[-1])))
        frames = (magnitude(waveform, self.window, HOP, FFT) @ self.filters).add_(LOG_OFFSET).log_()
        return frames.unfold(1, PATCH_FRAMES, hop_frames).transpose(2, 3)
