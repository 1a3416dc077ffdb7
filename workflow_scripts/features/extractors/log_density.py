"""Logarithm of the power spectral density, the input of VGGSound's ResNet."""

from pathlib import Path
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from workflow_scripts.features.interface import AudioExtractor, Extract
from workflow_scripts.features.waveforms import repeated


class Extractor(AudioExtractor):
    """scipy's spectrogram as in the code of Chen et al. 2020: Tukey windows, mean removed, ln(density + offset).

    Values from ln(1e-7) = -16.1 up: half precision holds them to 0.01.
    """

    sample_rate: int = Field(default=16_000, ge=1, description="Samples a second of the audio that it expects")
    window: int = Field(default=512, ge=2, multiple_of=2, description="Samples in a window, and size of the FFT")
    hop: int = Field(default=159, ge=1, description="Samples from window to window")
    offset: float = Field(default=1e-7, gt=0, description="Added before the logarithm")
    short: Literal["silence", "repeat"] = Field(
        default="silence", description="After a sound that is shorter than its clip: `silence`, or `repeat` it"
    )

    @model_validator(mode="after")
    def windows_touch(self) -> Self:
        if self.hop > self.window:
            raise ValueError(f"a hop of {self.hop} samples leaves gaps between windows of {self.window}")
        return self

    def shape(self, clip_seconds: float) -> tuple[int, int]:
        return 1 + (self.samples(clip_seconds) - self.window) // self.hop, self.window // 2 + 1

    def load(self, assets: dict[str, Path], device: str) -> Extract:
        from scipy.signal import spectrogram

        def extract(waveforms: np.ndarray) -> np.ndarray:
            filled = repeated(waveforms) if self.short == "repeat" else waveforms
            overlap = self.window - self.hop
            density = spectrogram(filled, self.sample_rate, nperseg=self.window, noverlap=overlap)[2]
            return np.log(density.swapaxes(1, 2) + np.float32(self.offset))

        return extract
