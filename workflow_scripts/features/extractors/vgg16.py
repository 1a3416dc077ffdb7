"""VGG16 features of frames: torchvision's ImageNet network of Simonyan and Zisserman (ICLR 2015)."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from workflow_scripts.features.interface import Extract, FrameExtractor

CHUNK = 32  # images at once: bounds memory

if TYPE_CHECKING:
    from torch import nn


def fc7(weights: Path) -> "nn.Module":
    """VGG16 up to the ReLU after its second fully connected layer: normalised images (n, 3, 224, 224) to (n, 4096)."""
    from torchvision.models import vgg16

    from workflow_scripts.models.pretrained import pretrained

    network = pretrained(vgg16, weights)
    network.classifier = network.classifier[:5]
    return network


class Extractor(FrameExtractor):
    """The second fully connected layer (fc7) after its ReLU."""

    assets: ClassVar = ("vgg16_weights",)
    uses_gpu = True
    dimensions = 4096

    def load(self, assets: dict[str, Path], device: str) -> Extract:
        import torch

        from workflow_scripts.features.chunks import chunked

        network = fc7(assets["vgg16_weights"]).to(device)
        network.to(memory_format=torch.channels_last)
        mean = torch.tensor([0.485, 0.456, 0.406], device=device).mul(255)[:, None, None]
        deviation = torch.tensor([0.229, 0.224, 0.225], device=device).mul(255)[:, None, None]

        def extract(frames: np.ndarray) -> np.ndarray:
            images = torch.from_numpy(frames).flatten(0, 1).permute(0, 3, 1, 2)
            found = chunked(lambda part: network((part.to(device) - mean) / deviation), images, CHUNK)
            return found.unflatten(0, frames.shape[:2]).cpu().numpy()

        return extract
