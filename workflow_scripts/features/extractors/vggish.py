"""VGGish embeddings: the AudioSet network of Hershey et al., 128 numbers for every 0.96 s."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from workflow_scripts.features.interface import Extract, PatchExtractor

CHUNK = 128  # patches at once: bounds memory


class Extractor(PatchExtractor):
    """VGGish's last layer, without the PCA and quantisation that YouTube-8M adds."""

    assets: ClassVar = ("vggish_weights",)
    uses_gpu = True
    final_relu: bool = Field(
        default=False, description="End in a ReLU as torchvggish does; Google's definition stops before it"
    )

    def shape(self, clip_seconds: float) -> tuple[int, int]:
        return self.patches(clip_seconds), 128

    def load(self, assets: dict[str, Path], device: str) -> Extract:
        import torch

        from workflow_scripts.features.chunks import chunked
        from workflow_scripts.models.pretrained import pretrained
        from workflow_scripts.models.vggish import LogMel, Vggish

        network = pretrained(lambda: Vggish(self.final_relu), assets["vggish_weights"])
        network.to(device).to(memory_format=torch.channels_last)
        front_end = LogMel().to(device)

        def extract(waveforms: np.ndarray) -> np.ndarray:
            patches = front_end(torch.from_numpy(waveforms).to(device), self.hop_frames)
            embeddings = chunked(network, patches.flatten(0, 1), CHUNK)
            return embeddings.unflatten(0, patches.shape[:2]).cpu().numpy()

        return extract
