"""Embeddings by PANNs' CNN14, trained on AudioSet: 2048 numbers for every 0.32 s."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from workflow_scripts.features.interface import AudioExtractor, Extract

DIMENSIONS, REDUCTION, HOP = 2048, 32, 320
CHUNK = 4  # clips at once


class Extractor(AudioExtractor):
    """What the last convolutions give, means over frequency (Kong et al. 2020), before the classifier of clips."""

    assets: ClassVar = ("cnn14_audioset",)
    uses_gpu = True
    sample_rate: Literal[32_000] = Field(default=32_000, description="Samples a second of the audio that it expects")

    def shape(self, clip_seconds: float) -> tuple[int, int]:
        return max(1, (self.samples(clip_seconds) // HOP + 1) // REDUCTION), DIMENSIONS

    def load(self, assets: dict[str, Path], device: str) -> Extract:
        import torch

        from workflow_scripts.features.chunks import chunked
        from workflow_scripts.models.panns import Panns

        network = Panns("cnn14", augment=False, frozen=True, checkpoint=assets["cnn14_audioset"]).eval().to(device)

        def extract(waveforms: np.ndarray) -> np.ndarray:
            clips = torch.from_numpy(waveforms).to(device)
            found: np.ndarray = chunked(lambda part: network(part)[0], clips, CHUNK).cpu().numpy()
            return found

        return extract
