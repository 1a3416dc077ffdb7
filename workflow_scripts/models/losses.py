"""Losses of multi-label classification, for targets (batch, classes) of 0 and 1."""

import torch
from torch.nn import functional

EPSILON = 1e-5  # of the starter code: keeps the logarithm of a probability of 0 or 1 finite


def sum_cross_entropy(probabilities: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy of probabilities, summed over the classes and averaged over the batch.

    That is the loss of the YouTube-8M starter code, with its epsilon inside both logarithms.
    """
    correct = targets * (probabilities + EPSILON).log() + (1 - targets) * (1 - probabilities + EPSILON).log()
    return -correct.sum(1).mean()


def mean_sigmoid_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy of logits, averaged over batch and classes (the loss of yt8m_text's text models)."""
    return functional.binary_cross_entropy_with_logits(logits.float(), targets)
