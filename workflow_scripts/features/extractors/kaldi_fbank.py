"""Log-mel filter bank energies as Kaldi computes them, the input of the Audio Spectrogram Transformer."""

from pathlib import Path

import numpy as np
from pydantic import Field

from workflow_scripts.features.interface import AudioExtractor, Extract
from workflow_scripts.features.waveforms import lengths


class Extractor(AudioExtractor):
    """Gong et al. 2021, section 2.1, and its code: each clip's mean is removed first.

    Frames after the end of a shorter sound are 0, which is not what silence gives: AST pads the spectrogram and not
    the sound. Energies below float32's epsilon count as that: -15.94, so half precision holds all values to 0.01.
    """

    sample_rate: int = Field(default=16_000, ge=1, description="Samples a second of the audio that it expects")
    bins: int = Field(default=128, ge=4, description="Triangular mel bins, from 20 Hz to half the sample rate")
    frames: int = Field(default=1024, ge=1, description="Frames to which every clip is zero-padded or cut")
    frame_length_ms: float = Field(default=25, gt=0, description="Length of the Hann window, milliseconds")
    frame_shift_ms: float = Field(default=10, gt=0, description="From window to window; whole samples, rounded down")

    def shape(self, clip_seconds: float) -> tuple[int, int]:
        return self.frames, self.bins

    def load(self, assets: dict[str, Path], device: str) -> Extract:
        import torch
        from torchaudio.compliance.kaldi import fbank

        def one(waveform: torch.Tensor) -> torch.Tensor:
            found = fbank(
                (waveform - waveform.mean())[None],
                sample_frequency=self.sample_rate,
                num_mel_bins=self.bins,
                frame_length=self.frame_length_ms,
                frame_shift=self.frame_shift_ms,
                window_type="hanning",
                htk_compat=True,
            )[: self.frames]
            padded = found.new_zeros(self.frames, self.bins)
            padded[: len(found)] = found
            return padded

        def extract(waveforms: np.ndarray) -> np.ndarray:
            clips = torch.from_numpy(waveforms).to(device)
            window = int(self.sample_rate * self.frame_length_ms / 1000)
            ends = np.maximum(lengths(waveforms), window).tolist()
            return torch.stack([one(clip[:end]) for clip, end in zip(clips, ends, strict=True)]).cpu().numpy()

        return extract
