"""What a mean teacher teaches by: a student learns from labels, and from agreeing with the moving average of itself.

Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017; for sound events with weak labels as in
Boes & Van hamme 2021, section 2.3.
"""

import torch
from torch import nn
from torch.nn import functional


def classification_loss(clips: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy over the annotated clips (batch, classes), 0 if there is none; targets of others are NaN."""
    annotated = (~targets.isnan()).float()
    valid = clips.nan_to_num(0.5)  # CUDA aborts on NaN here; the consistency terms still carry it into the loss
    total = functional.binary_cross_entropy(valid, targets.nan_to_num(), weight=annotated, reduction="sum")
    return total / annotated.sum().clamp(min=1)


def consistency_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of probabilities; nothing flows back to the teacher."""
    return functional.mse_loss(student, teacher.detach())


def update_teacher(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """teacher = decay * teacher + (1 - decay) * student, for parameters; buffers stay the teacher's own."""
    with torch.no_grad():
        for mean, value in zip(teacher.parameters(), student.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
