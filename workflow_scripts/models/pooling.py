"""Pooling of frame probabilities into a clip probability."""

import torch


def linear_softmax(frames: torch.Tensor, eps: float = 1e-7) -> torch.Tensor:
    """Linear softmax pooling: each frame is weighted by its own probability.

    `frames`: probabilities (batch, frames, classes); returns (batch, classes). Boes & Van hamme 2021, eq. 1, after
    Wang, Li & Metze, ICASSP 2019; `eps` in the denominator makes the pool of all-zero frames zero.
    """
    return frames.square().sum(1) / (frames.sum(1) + eps)
