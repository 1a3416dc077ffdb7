"""Mean-teacher training: a student learns from labels, and from agreeing with the moving average of itself.

Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017; for sound events with weak labels as in
Boes & Van hamme 2021, section 2.3.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from workflow_scripts.training.arithmetic import autocast
from workflow_scripts.training.checkpoints import State, random_state, restore_random_state

Features = Mapping[str, torch.Tensor]


def classification_loss(clips: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Binary cross entropy over the annotated clips; both are (batch, classes), unannotated targets are NaN."""
    annotated = (~targets.isnan()).float()
    valid = clips.nan_to_num(0.5)  # CUDA aborts on NaN here; the consistency terms still carry it into the loss
    total = functional.binary_cross_entropy(valid, targets.nan_to_num(), weight=annotated, reduction="sum")
    return total / annotated.sum()


def consistency_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of probabilities; nothing flows back to the teacher."""
    return functional.mse_loss(student, teacher.detach())


def update_teacher(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """teacher = decay * teacher + (1 - decay) * student, for parameters; buffers stay the teacher's own."""
    with torch.no_grad():
        for mean, value in zip(teacher.parameters(), student.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)


@dataclass(frozen=True)
class Losses:
    """The terms of one step's loss, as tensors without axes."""

    loss: torch.Tensor
    classification: torch.Tensor
    clip_consistency: torch.Tensor
    frame_consistency: torch.Tensor


class MeanTeacher:
    """A student, its teacher and the optimiser, advanced one step at a time; `state` holds all of it.

    `precision` is 32-true, bf16-mixed or 16-mixed. The teacher starts as a copy of the student, and both stay in
    train mode: each has its own dropout masks and its own batch statistics.
    """

    def __init__(
        self, student: nn.Module, *, betas: tuple[float, float], weight: float, device: torch.device, precision: str
    ) -> None:
        self.device, self.weight = device, weight
        self.student: nn.Module = student.to(device).train()
        self.teacher = copy.deepcopy(self.student)
        self.optimiser = torch.optim.Adam(self.student.parameters(), betas=betas, fused=True)
        self.autocast = autocast(device, precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")

    def step(self, features: Features, targets: torch.Tensor, rate: float, decay: float) -> Losses:
        """One update of the student at the learning rate `rate`, then of the teacher."""
        with self.autocast():
            clips, frames = self.student(features)
            with torch.no_grad():
                taught_clips, taught_frames = self.teacher(features)
        classification = classification_loss(clips, targets)
        of_clips, of_frames = consistency_loss(clips, taught_clips), consistency_loss(frames, taught_frames)
        loss = classification + self.weight * (of_clips + of_frames)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        update_teacher(self.teacher, self.student, decay)
        return Losses(loss.detach(), classification.detach(), of_clips.detach(), of_frames.detach())

    def state(self) -> State:
        """All that the next step depends on."""
        return {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_state(self.device),
        }

    def restore(self, state: State) -> None:
        """Goes on from a `state`."""
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        restore_random_state(state["random"], self.device)
