"""Logarithm of short-time spectra, in mel bands or in all frequencies: what EPIC's networks of sound are given."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from workflow_scripts.features.interface import AudioExtractor, Extract

if TYPE_CHECKING:
    import torch


class Extractor(AudioExtractor):
    """Centred, zero-padded Hann windows as in librosa, ln(value + offset).

    Defaults are those of AudioSlowFast on VGGSound (Kazakos et al. 2021, section 3.1, and its code): magnitudes in 128
    mel bands. The temporal binding network (Kazakos et al. 2019) takes the power of all 256 frequencies of 511-point
    spectra instead. Values from ln(1e-6) = -13.8 up: half precision holds them to 0.004.
    """

    sample_rate: int = Field(default=16_000, ge=1, description="Samples a second of the audio that it expects")
    window_ms: float = Field(default=20, gt=0, description="Length of the Hann window, milliseconds")
    hop_ms: float = Field(default=10, gt=0, description="From window to window, milliseconds")
    fft: int = Field(default=2048, ge=2, description="Points of the Fourier transform")
    mels: int | None = Field(
        default=128, ge=1, description="Bands on HTK's mel scale, triangles of height 1; null: all frequencies"
    )
    power: Literal[1, 2] = Field(default=1, description="1: magnitudes; 2: their squares")
    offset: float = Field(default=1e-6, gt=0, description="Added before the logarithm")

    @model_validator(mode="after")
    def window_fits(self) -> Self:
        if not 1 <= self.window <= self.fft or self.hop < 1:
            raise ValueError(f"a window of {self.window} samples every {self.hop} does not fit an FFT of {self.fft}")
        return self

    @property
    def window(self) -> int:
        """Samples in a window."""
        return round(self.sample_rate * self.window_ms / 1000)

    @property
    def hop(self) -> int:
        """Samples from window to window."""
        return round(self.sample_rate * self.hop_ms / 1000)

    def shape(self, clip_seconds: float) -> tuple[int, int]:
        return 1 + (self.samples(clip_seconds) - self.fft % 2) // self.hop, self.mels or self.fft // 2 + 1

    def load(self, assets: dict[str, Path], device: str) -> Extract:
        import torch

        window = torch.hann_window(self.window, device=device)
        filters = None if self.mels is None else self.filters(self.mels).to(device)

        def one(waveform: torch.Tensor) -> torch.Tensor:
            spectrum = torch.stft(waveform, self.fft, self.hop, self.window, window, center=True, pad_mode="constant",
                                  return_complex=True).mT  # fmt: skip
            energy = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
            values = energy.sqrt_() if self.power == 1 else energy
            return (values if filters is None else values @ filters).add_(self.offset).log_()

        def extract(waveforms: np.ndarray) -> np.ndarray:
            clips = torch.from_numpy(waveforms).to(device).split(1)  # as in `logmel`: a spectrum that stays in cache
            return torch.cat([one(clip) for clip in clips]).cpu().numpy()

        return extract

    def filters(self, bands: int) -> "torch.Tensor":
        """The mel bands' weights, (fft // 2 + 1, bands)."""
        import torch
        from librosa.filters import mel

        weights = mel(sr=self.sample_rate, n_fft=self.fft, n_mels=bands, htk=True, norm=None)
        return torch.from_numpy(weights).T.contiguous()
