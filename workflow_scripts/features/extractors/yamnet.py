"""YAMNet embeddings: a small AudioSet network, 1024 numbers for every 0.96 s."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from workflow_scripts.features.interface import Extract, PatchExtractor

CHUNK = 64  # patches at once: bounds memory, and is the quickest size on a CPU


class Extractor(PatchExtractor):
    """YAMNet's globally pooled last layer before the classifier."""

    assets: ClassVar = ("yamnet_index", "yamnet_weights")
    uses_gpu = True

    def shape(self, clip_seconds: float) -> tuple[int, int]:
        return self.patches(clip_seconds), 1024

    def load(self, assets: dict[str, Path], device: str) -> Extract:
        import torch

        from workflow_scripts.features.chunks import chunked
        from workflow_scripts.models.yamnet import Yamnet

        network = Yamnet.from_bundle(assets["yamnet_index"], assets["yamnet_weights"]).to(device)

        def extract(waveforms: np.ndarray) -> np.ndarray:
            log_mel = network.log_mel(torch.from_numpy(waveforms).to(device))
            patches = network.patches(log_mel, self.hop_frames)
            embeddings = chunked(lambda part: network(part)[1], patches.flatten(0, 1), CHUNK)
            return embeddings.unflatten(0, patches.shape[:2]).cpu().numpy()

        return extract
