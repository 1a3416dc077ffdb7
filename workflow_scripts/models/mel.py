"""Mel spectrograms: filters and magnitudes, batched, on any device."""

import math

import torch
from torch import Tensor


def magnitude(waveform: Tensor, window: Tensor, hop: int, fft: int) -> Tensor:
    """Magnitudes of the windowed frames of (batch, samples): (batch, 1 + (samples - window) // hop, fft // 2 + 1)."""
    spectrum = torch.fft.rfft(waveform.unfold(-1, len(window), hop) * window, fft)
    # Four times as fast on a CPU as the absolute value of complex numbers.
    return torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag).sqrt_()


def slaney_filters(sample_rate: int, fft: int, bands: int) -> Tensor:
    """librosa's filters from 0 Hz to half the sample rate, (fft // 2 + 1, bands): Slaney's mel scale, equal areas."""
    from librosa.filters import mel

    return torch.from_numpy(mel(sr=sample_rate, n_fft=fft, n_mels=bands)).T.contiguous()


def htk_filters(sample_rate: int, fft: int, bands: int, lowest: float, highest: float) -> Tensor:
    """AudioSet's filters, (fft // 2 + 1, bands): triangles of height 1, straight in mel (not in Hz) on HTK's scale.

    The constant bin is left out. Hershey et al., "CNN architectures for large-scale audio classification", 2017, and
    the code of VGGish, `mel_features.py`.
    """

    def mel(hertz: Tensor) -> Tensor:
        return 1127 * torch.log1p(hertz / 700)

    bins = mel(torch.linspace(0, sample_rate / 2, fft // 2 + 1, dtype=torch.float64))[:, None]
    low, high = mel(torch.tensor([lowest, highest], dtype=torch.float64)).tolist()
    edges = torch.linspace(low, high, bands + 2, dtype=torch.float64)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    filters = torch.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clamp_min_(0)
    filters[0] = 0
    return filters.float()


def decibels(amplitude: Tensor, lowest: float = 1e-5, dynamic_range: float = 80.0) -> Tensor:
    """20 log10 of (batch, frames, bands), not below `lowest` nor more than `dynamic_range` below the clip's maximum."""
    level = 20 / math.log(10) * amplitude.clamp_min(lowest).log()
    return torch.maximum(level, level.amax((-2, -1), keepdim=True) - dynamic_range)
