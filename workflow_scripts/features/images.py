"""Frames brought to the square image that a network sees."""

from typing import Literal

import numpy as np


def fit(frames: np.ndarray, size: int, resize: Literal["direct", "resize256_crop"]) -> np.ndarray:
    """Resizes uint8 frames (n, height, width, 3) to (n, size, size, 3), bilinear with antialiasing.

    `direct` squeezes the whole frame; `resize256_crop` brings the shorter side to 256/224 of `size` and cuts out the
    middle, which is how torchvision's ImageNet networks were evaluated.
    """
    import torch
    from torch.nn.functional import interpolate

    height, width = frames.shape[1:3]
    if resize == "direct":
        target = (size, size)
    else:
        shorter = round(size * 256 / 224)
        target = (shorter * height // min(height, width), shorter * width // min(height, width))
    if target != (height, width):
        images = torch.from_numpy(frames).permute(0, 3, 1, 2)
        images = interpolate(images, target, mode="bilinear", antialias=True)
        frames = images.permute(0, 2, 3, 1).numpy()
    top, left = ((side - size + 1) // 2 for side in target)
    return frames[:, top : top + size, left : left + size]
