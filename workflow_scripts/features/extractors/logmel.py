"""Log-mel spectrogram."""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from workflow_scripts.features.interface import AudioExtractor, Extract

LOG_OFFSET = 1e-5


class Extractor(AudioExtractor):
    """Logarithm of the magnitudes of centred, reflect-padded Hann windows in Slaney's mel bands, as in librosa."""

    sample_rate: int = Field(default=22_050, ge=1, description="Samples a second of the audio that it expects")
    window: int = Field(default=2048, ge=2, multiple_of=2, description="Samples in a window, and size of the FFT")
    hop: int = Field(default=512, ge=1, description="Samples from window to window")
    mels: int = Field(default=128, ge=1, description="Number of mel bands, from 0 Hz to half the sample rate")
    log: Literal["ln", "db"] = Field(
        default="ln",
        description="`ln`: ln(magnitude + 1e-5); `db`: decibels, at most 80 below the clip's maximum, "
        "as librosa.amplitude_to_db",
    )

    def shape(self, clip_seconds: float) -> tuple[int, int]:
        return 1 + self.samples(clip_seconds) // self.hop, self.mels

    def load(self, assets: dict[str, Path], device: str) -> Extract:
        import torch

        from workflow_scripts.models.mel import decibels, magnitude, slaney_filters

        filters = slaney_filters(self.sample_rate, self.window, self.mels).to(device)
        window = torch.hann_window(self.window, device=device)

        def one(waveform: torch.Tensor) -> torch.Tensor:
            padded = torch.nn.functional.pad(waveform, (self.window // 2, self.window // 2), mode="reflect")
            mel = magnitude(padded, window, self.hop, self.window) @ filters
            return decibels(mel) if self.log == "db" else mel.add_(LOG_OFFSET).log_()

        def extract(waveforms: np.ndarray) -> np.ndarray:
            # Clip by clip: a spectrum that stays in the CPU's cache is twice as fast as a batch that does not.
            clips = torch.from_numpy(waveforms).to(device).split(1)
            return torch.cat([one(clip) for clip in clips]).cpu().numpy()

        return extract
