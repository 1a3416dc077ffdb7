"""A classifier under one seed: how it learns, is validated, stops early, and predicts."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from workflow_scripts.shards import Row
from workflow_scripts.training.fitting import Forward, Known
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.loop import Run, Scores, SteppedFitting
from workflow_scripts.training.sampling import Reshuffled
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.classifier.data import Data
from workflow_scripts.training.systems.classifier.predictor import Predictor
from workflow_scripts.training.systems.classifier.settings import System


class ClassifierRun(Run):
    """A classifier while it learns; the weights of the epoch with the lowest validation loss predict."""

    system: System
    watched = "validation_accuracy"

    def __init__(self, system: System, job: TrainingJob, data: Data, seed: int) -> None:
        self.settings, self.data = system.optimisation, data
        self.sampler = Reshuffled(data.training, len(data.training), seed, system.train_split)
        network = system.build({name: stored.shape[1] for name, stored in data.clips.features.items()})
        steps = math.ceil(len(data.training) / self.settings.batch)
        super().__init__(system, job, data, seed, network, self.settings.max_epochs, steps, data.learned_from)
        self.predictor = Predictor(system, self.network, self.device, self.autocast)
        self.schema = self.predictor.schema

    def build_optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.network.parameters(), lr=self.settings.learning_rate, fused=True)

    def batches(self) -> Iterator[Block]:
        size = self.settings.batch
        return self.blocks(self.sampler.turn(self.epoch)[self.batch * size :], size)

    def blocks(self, places: np.ndarray, size: int) -> Iterator[Block]:
        """The clips at `places`, `size` at a time."""
        return (self.data.block(places[start : start + size]) for start in range(0, len(places), size))

    def on_device(self, block: Block) -> tuple[dict[str, Tensor], Tensor]:
        """The streams in float32, and class numbers (clips,)."""
        tensors = {name: torch.from_numpy(values).to(self.device) for name, values in block.items()}
        targets = tensors.pop("targets")
        return {name: values.float() for name, values in tensors.items()}, targets

    def rate(self) -> float:
        return self.settings.learning_rate

    def batch_loss(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """The mean cross entropy."""
        with self.autocast():
            return functional.cross_entropy(self.network(inputs), targets)

    def logits(self, places: np.ndarray) -> Tensor:
        """The logits (clips, classes) of the clips at `places`, float32 on the CPU."""
        return torch.cat([self.predictor.logits(block) for block in self.blocks(places, 4 * self.settings.batch)])

    def evaluate(self) -> Scores:
        """Mean cross entropy and accuracy over the validation clips."""
        logits, targets = self.logits(self.data.validation), torch.from_numpy(self.data.targets[self.data.validation])
        loss = functional.cross_entropy(logits.double(), targets).item()
        return {"validation_loss": loss, "validation_accuracy": (logits.argmax(1) == targets).double().mean().item()}

    def finish_epoch(self, scores: Scores) -> None:
        """Keeps the weights of the lowest validation loss, and stops some epochs after it."""
        super().finish_epoch(scores)
        self.note_best(-scores["validation_loss"], self.network)
        self.stopped = self.epoch - self.best_epoch >= self.settings.patience

    def finish(self) -> None:
        """Tells in the last line of each epoch whether its weights were kept."""
        super().finish()
        for row in self.history:
            if "validation_loss" in row:
                row["best"] = float(row["epoch"] == self.best_epoch)

    def predict(self) -> Iterator[Row]:
        clips, size = self.data.clips, 4 * self.settings.batch
        for start in range(0, len(self.data.predicted), size):
            places = self.data.predicted[start : start + size]
            named = [clips.rows[place] for place in places]
            about = {"clip_id": [row["clip_id"] for row in named], "seconds": clips.seconds[places]}
            for row, predicted in zip(named, self.predictor.rows([self.data.block(places) | about]), strict=True):
                yield {"split": row["split"], **predicted}


class Fitting(SteppedFitting):
    """The seeds of a job, one network each."""

    open = Data
    start = ClassifierRun

    @staticmethod
    def forwards(system: System, known: Known, clips: int) -> Iterator[Forward]:
        streams = {name: torch.empty(clips, *shape) for name, shape in known.shapes.items()}
        yield system.build({name: shape[1] for name, shape in known.shapes.items()}), (streams,), True
