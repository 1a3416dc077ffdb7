"""Contrastive objectives of an anchor's similarities to one positive and some negative samples.

Both are to be maximised, as in nora_fusion, section 2; the losses are their negatives (NT-Xent: Chen et al. 2020).
"""

from collections.abc import Callable

import torch
from torch.nn import functional

Objective = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def nt_xent(positive: torch.Tensor, negatives: torch.Tensor, temperature: float) -> torch.Tensor:
    """s+/t - log(sum of exp(s/t) over all samples) (eq. 1), from positive (…) and negatives (…, count) to (…).

    Tends to -log(count + 1) for t to infinity.
    """
    scaled = torch.cat([positive.unsqueeze(-1), negatives], dim=-1) / temperature
    return functional.log_softmax(scaled, dim=-1)[..., 0]


def nt_logistic(positive: torch.Tensor, negatives: torch.Tensor, temperature: float) -> torch.Tensor:
    """log sigmoid(s+/t) + sum of log sigmoid(-s-/t) (section 2.3), from positive (…) and negatives (…, count) to (…).

    Tends to (count + 1) log 0.5 for t to infinity.
    """
    against = functional.logsigmoid(-negatives / temperature).sum(-1)
    return functional.logsigmoid(positive / temperature) + against


def gradient_weights(
    objective: Objective, positive: torch.Tensor, negatives: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """What multiplies each sample's vector in the objective's gradient by the anchor, shaped as the similarities.

    They are the derivatives by the similarities, which holds where the similarity is a dot product: v+ and v- are its
    gradients by the anchor. A cosine of an anchor that is not of unit length would add a projection.
    """
    positive, negatives = positive.detach().requires_grad_(), negatives.detach().requires_grad_()
    value = objective(positive, negatives, temperature).sum()
    of_positive, of_negatives = torch.autograd.grad(value, [positive, negatives])
    return of_positive, of_negatives
