"""YAMNet's map of features: what its last convolution gives, 1024 numbers for every 0.32 s."""

import math
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from workflow_scripts.features.interface import AudioExtractor, Extract

CHUNK = 64  # patches at once: bounds memory, and is the quickest size on a CPU
PATCH, OVERHANG = 15_360, 240  # samples from patch to patch, and by which a patch is longer
FRAMES = 3  # of the map in a patch


class Extractor(AudioExtractor):
    """Means over frequency: patches of 0.96 s, one after the other, of which the last is filled up with zeros."""

    assets: ClassVar = ("yamnet_index", "yamnet_weights")
    uses_gpu = True
    sample_rate: Literal[16_000] = Field(default=16_000, description="Samples a second of the audio that it expects")

    def patches(self, clip_seconds: float) -> int:
        """Number of patches that cover a clip."""
        return max(1, math.ceil((self.samples(clip_seconds) - OVERHANG) / PATCH))

    def shape(self, clip_seconds: float) -> tuple[int, int]:
        return FRAMES * self.patches(clip_seconds), 1024

    def load(self, assets: dict[str, Path], device: str) -> Extract:
        import torch
        from torch.nn import functional as F

        from workflow_scripts.features.chunks import chunked
        from workflow_scripts.models.yamnet import PATCH_FRAMES, Yamnet

        network = Yamnet.from_bundle(assets["yamnet_index"], assets["yamnet_weights"]).to(device)

        def extract(waveforms: np.ndarray) -> np.ndarray:
            clips = torch.from_numpy(waveforms).to(device)
            count = self.patches(clips.shape[1] / self.sample_rate)
            clips = F.pad(clips, (0, count * PATCH + OVERHANG - clips.shape[1]))
            patches = network.patches(network.log_mel(clips), PATCH_FRAMES)
            maps = chunked(lambda part: network.feature_map(part).mean(3), patches.flatten(0, 1), CHUNK)
            frames = maps.transpose(1, 2).unflatten(0, patches.shape[:2])  # (clips, patches, 3, 1024)
            return frames.flatten(1, 2).cpu().numpy()

        return extract
