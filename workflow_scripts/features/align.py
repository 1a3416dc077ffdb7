"""Features of different rates brought to one number of frames."""

import numpy as np


def align(features: np.ndarray, frames: int) -> np.ndarray:
    """Picks, for each of `frames` equal parts of the clip, the feature vector whose centre in time is nearest.

    `features` is (..., n, dimensions): n vectors that stand for n equal parts of the clip, so that vector i has its
    centre at (i + 1/2) / n of it. Returns (..., frames, dimensions); the identity when n equals `frames`. Of two
    centres equally near the later one is taken.
    """
    n = features.shape[-2]
    nearest = (2 * np.arange(frames) + 1) * n // (2 * frames)
    return np.take(features, nearest, axis=-2)
