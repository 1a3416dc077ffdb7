"""A student and its teacher under one seed: how they learn, are validated, and predict.

Tarvainen & Valpola, "Mean teachers are better role models", NeurIPS 2017; for sound events with weak labels as in
Boes & Van hamme 2021, section 2.3.
"""

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.errors import UserError
from workflow_scripts.models.crnn import CRNN
from workflow_scripts.shards import Row
from workflow_scripts.training.checkpoints import State
from workflow_scripts.training.fitting import Forward, Known
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.loop import Run, Scores, SteppedFitting
from workflow_scripts.training.sampling import Reshuffled
from workflow_scripts.training.schedules import average_decay, ramped_decay
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.mean_teacher_sed.data import Data
from workflow_scripts.training.systems.mean_teacher_sed.losses import (
    classification_loss,
    consistency_loss,
    update_teacher,
)
from workflow_scripts.training.systems.mean_teacher_sed.predictor import Predictor
from workflow_scripts.training.systems.mean_teacher_sed.settings import System

Features = dict[str, Tensor]


class MeanTeacherRun(Run):
    """A student, `network`, while it learns from labels and from agreeing with its teacher.

    The teacher starts as a copy of the student, and both stay in train mode: each has its own dropout masks and its own
    batch statistics. An epoch ends where the validation clips are looked at.
    """

    system: System
    watched = "validation_f1"

    def __init__(self, system: System, job: TrainingJob, data: Data, seed: int) -> None:
        self.settings, self.data = system.optimisation, data
        sizes = self.settings.batch.items()
        self.samplers = [Reshuffled(data.clips.of([split]), size, seed, split) for split, size in sizes]
        epochs = math.ceil(self.settings.steps / system.validate_every)
        student = build_student(system, data)
        super().__init__(system, job, data, seed, student, epochs, system.validate_every, data.learned_from)
        self.teacher = copy.deepcopy(self.network)
        self.predictor = Predictor(system, self.network, self.device)
        self.schema = self.predictor.schema

    def build_optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters(), betas=self.settings.betas, fused=True)

    def batches(self) -> Iterator[Block]:
        end = min((self.epoch + 1) * self.steps_an_epoch, self.settings.steps)
        for step in range(self.steps, end):
            yield self.data.block(np.concatenate([sampler.batch(step) for sampler in self.samplers]))

    def on_device(self, block: Block) -> tuple[Features, Tensor]:
        """The streams in float32, and targets (clips, classes), NaN where a clip has no labels."""
        tensors = {name: torch.from_numpy(values).to(self.device) for name, values in block.items()}
        targets = tensors.pop("targets")
        return {name: values.float() for name, values in tensors.items()}, targets

    def rate(self) -> float:
        return ramped_decay(self.steps, self.settings.peak_rate, self.settings.ramp_steps, self.settings.decay)

    def batch_loss(self, inputs: Features, targets: Tensor) -> Tensor:
        """Classification of the labelled clips, and agreement with the teacher on all clips and frames."""
        return self.losses(inputs, targets).sum()

    def losses(self, inputs: Features, targets: Tensor) -> Tensor:
        """The two by themselves."""
        with self.autocast():
            clips, frames = self.network(inputs)
            with torch.no_grad():
                taught_clips, taught_frames = self.teacher(inputs)
        classification = classification_loss(clips, targets)
        of_clips, of_frames = consistency_loss(clips, taught_clips), consistency_loss(frames, taught_frames)
        terms = {"classification": classification, "clip_consistency": of_clips, "frame_consistency": of_frames}
        self.terms = {name: value.detach() for name, value in terms.items()}
        return torch.stack([classification, self.settings.consistency_weight * (of_clips + of_frames)])

    def weight(self, inputs: Features, targets: Tensor) -> list[float]:
        """The annotations, over which the classification is a mean, and the clips."""
        return [int((~targets.isnan()).sum()), len(targets)]

    def after_step(self) -> None:
        """The teacher follows the student."""
        update_teacher(self.teacher, self.network, average_decay(self.steps, self.settings.teacher_decay))

    def recorded(self) -> Row:
        """A line of the history, with the learning rate; of epochs the paper does not speak."""
        row = super().recorded() | {"rate": float(self.optimiser.param_groups[0]["lr"])}
        return {name: value for name, value in row.items() if name != "epoch"}

    def evaluate(self) -> Scores:
        """Micro F1 of the clip probabilities above 0.5 over the validation clips."""
        decided = np.stack([clip for _, clip, _ in self.probabilities(self.data.validation)]) > 0.5
        true = self.data.targets[self.data.validation] > 0.5
        f1 = 2 * float((decided & true).sum()) / max(float(decided.sum() + true.sum()), 1.0)
        return {"validation_f1": f1}

    def probabilities(self, places: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Place, clip probabilities (classes,) and frame probabilities (frames, classes) of each clip."""
        size = sum(self.settings.batch.values())
        for start in range(0, len(places), size):
            part = places[start : start + size]
            block = self.data.block(part)
            streams = {name: block[name] for name in self.system.streams}
            yield from zip(part, *self.predictor.probabilities(streams), strict=True)

    def predict(self) -> Iterator[Row]:
        for place, clip, frames in self.probabilities(self.data.predicted):
            row = self.data.clips.rows[place]
            named = {"clip_id": row["clip_id"], "split": row["split"], "seconds": self.data.clips.seconds[place]}
            yield named | self.predictor.columns(clip, frames)

    def state(self) -> State:
        return super().state() | {"teacher": self.teacher.state_dict()}

    def restore(self, state: State) -> None:
        super().restore(state)
        self.teacher.load_state_dict(state["teacher"])


class Fitting(SteppedFitting):
    """The seeds of a job, one network each."""

    open = Data
    start = MeanTeacherRun

    @staticmethod
    def forwards(system: System, known: Known, clips: int) -> Iterator[Forward]:
        shapes = known.shapes
        aligned = {
            name: shape[0] if name == system.network.spectral else system.frames for name, shape in shapes.items()
        }
        features = {name: torch.empty(clips, aligned[name], shape[1]) for name, shape in shapes.items()}
        for learns in (True, False):  # the student, and its teacher
            yield system.build({name: shape[1] for name, shape in shapes.items()}), (features,), learns


def build_student(system: System, data: Data) -> CRNN:
    """A network with fresh weights and the training clips' statistics."""
    try:
        network = system.build({name: stored.shape[1] for name, stored in data.clips.features.items()})
    except ValueError as error:
        raise UserError(f"network: {error}") from None
    for name, scale in network.standardise.items():
        mean, deviation = data.statistics(name)
        scale.load_state_dict({"mean": torch.from_numpy(mean), "deviation": torch.from_numpy(deviation)})
    return network
