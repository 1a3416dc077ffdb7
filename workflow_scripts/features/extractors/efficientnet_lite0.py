"""EfficientNet-lite0 features of frames: a small ImageNet network."""

from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from workflow_scripts.features.interface import Extract, FrameExtractor

CHUNK = 16  # images at once: the quickest size on a CPU


class Extractor(FrameExtractor):
    """The globally pooled last layer before the classifier."""

    assets: ClassVar = ("efficientnet_lite0_weights",)
    uses_gpu = True
    dimensions = 1280
    size: int = Field(default=128, ge=32, description="Width and height of the image that the network sees, pixels")

    def load(self, assets: dict[str, Path], device: str) -> Extract:
        import torch

        from workflow_scripts.features.chunks import chunked
        from workflow_scripts.models.efficientnet_lite import MEAN, SCALE, EfficientNetLite0
        from workflow_scripts.models.pretrained import pretrained

        network = pretrained(EfficientNetLite0, assets["efficientnet_lite0_weights"]).fuse()
        network.to(device).to(memory_format=torch.channels_last)

        def extract(frames: np.ndarray) -> np.ndarray:
            images = torch.from_numpy(frames).flatten(0, 1).permute(0, 3, 1, 2)
            found = chunked(lambda part: network.features((part.to(device) - MEAN) / SCALE), images, CHUNK)
            return found.unflatten(0, frames.shape[:2]).cpu().numpy()

        return extract
