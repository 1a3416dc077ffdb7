"""A network of sounds under one seed: how it starts, learns, is looked at, and predicts."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.errors import UserError
from workflow_scripts.models.audio_classifiers import build
from workflow_scripts.shards import Row
from workflow_scripts.training.fitting import Fit, Forward, Known
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.loop import Run, Scores, SteppedFitting, learn
from workflow_scripts.training.outputs import folder_of_seed, read_weights
from workflow_scripts.training.stream import Block, steps_an_epoch
from workflow_scripts.training.systems.audio_classifier.augmentation import cross_entropy
from workflow_scripts.training.systems.audio_classifier.data import INITIAL, Data, folds_of
from workflow_scripts.training.systems.audio_classifier.predictor import Logits, Predictor
from workflow_scripts.training.systems.audio_classifier.settings import Optimisation, System

HEADS = ("head.", "heads.")  # beginnings of the names of parameters that depend on the classes
UNDECAYED = ("bias_table", "rpe_table", "pos_embed", "_token")  # besides biases and the scales of norms


class AudioRun(Run):
    """A network of sounds while it learns."""

    system: System
    best_by = "accuracy"

    def __init__(self, system: System, job: TrainingJob, data: Data, seed: int) -> None:
        self.settings, self.data = system.optimisation, data
        self.gradient_clipping = self.settings.clip
        self.accuracy = self.watched = f"{system.validation_split}_{accuracy_name(data.heads.classes)}"
        steps = steps_an_epoch(data.counts[system.train_split], self.settings.batch)
        network = build_network(system, job, data, seed)
        super().__init__(system, job, data, seed, network, self.settings.epochs, steps, data.learned_from)
        about = data.preparation, data.heads.classes, seed, self.device, self.autocast
        self.predictor = Predictor(self.network, *about)
        self.schema = self.predictor.schema

    def build_optimiser(self) -> torch.optim.Optimizer:
        return optimiser(self.network, self.settings)

    def batches(self) -> Iterator[Block]:
        settings, split = self.settings, self.system.train_split
        shuffled = self.data.shuffled(split, settings.batch, settings.shuffle_rows, self.seed, self.epoch)
        return itertools.islice(shuffled, self.batch, None)

    def on_device(self, block: Block) -> tuple[dict[str, Tensor], Tensor]:
        """Augmented `features` (clips, frames, bins) and class numbers (clips, heads).

        Of mixed clips also the `others` that were added: their class numbers (clips, heads), and the first's `share`.
        """
        features, targets = (torch.from_numpy(block[name]).to(self.device) for name in ("features", "targets"))
        prepared, mix = self.data.preparation.augmented(features.float())
        mixed = {} if mix is None else {"others": targets[mix.partner], "share": mix.share}
        return {"features": prepared} | mixed, targets

    def rate(self) -> float:
        return self.settings.schedule.rate(self.settings.learning_rate, self.steps, self.total, self.epochs)

    def batch_loss(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """The cross entropy of augmented features."""
        with self.autocast():
            logits = in_single(self.network(inputs["features"]))
        return cross_entropy(logits, targets, inputs.get("others"), inputs.get("share"), self.settings.label_smoothing)

    def recorded(self) -> Row:
        """A line of the history, with the learning rate."""
        return super().recorded() | {"learning_rate": float(self.optimiser.param_groups[0]["lr"])}

    def evaluate(self) -> Scores:
        """Scores on the validation split, in the epochs in which it is looked at."""
        split = self.system.validation_split
        if split is None or not self.looks(self.system.validate_every):
            return {}
        blocks = self.data.in_order(split, self.settings.batch)
        targets, parts = zip(*((block["targets"], logits) for block, logits in self.logits(blocks)), strict=True)
        logits = {head: torch.cat([part[head] for part in parts]) for head in self.data.heads.classes}
        return scores(logits, np.concatenate(targets), split)

    def finish_epoch(self, scores: Scores) -> None:
        """Notes whether the epoch has the best accuracy so far, whose weights are kept if they are to be reported."""
        super().finish_epoch(scores)
        if scores:
            self.note_best(scores[self.accuracy], self.network if self.system.report_epoch == "best" else None)
            self.history[-1] |= {"best_epoch": self.best_epoch, "best_accuracy": self.best_score}

    def logits(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, Logits]]:
        """Each block with the logits (clips, classes) of its clips by head."""
        return self.predictor.logits(blocks)

    def predict(self) -> Iterator[Row]:
        """Logits, split by split, each in the order of the shards."""
        for split in self.system.predict_splits:
            for row in self.predictor.rows(self.data.in_order(split, self.settings.batch)):
                yield {"split": split, **row}

    def kept(self) -> dict[str, Any]:
        statistics = self.data.preparation.statistics
        return {"classes": dict(self.data.heads.classes), "statistics": statistics and asdict(statistics)}

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"classes": self.data.heads.sizes}


class CrossValidated(Fit):
    """The networks of all folds under one seed, each of which predicts the clips of its own."""

    def __init__(self, seed: int, runs: Sequence[AudioRun]) -> None:
        self.seed, self.runs, self.schema = seed, runs, runs[0].schema
        self.history = [{**row, "fold": fold} for fold, run in enumerate(runs) for row in run.history]

    def predict(self) -> Iterator[Row]:
        for run in self.runs:
            yield from run.predict()

    def weights(self) -> dict[str, np.ndarray]:
        """By `<fold>/<name>`."""
        return {f"{fold}/{name}": value for fold, run in enumerate(self.runs) for name, value in run.weights().items()}

    def facts(self) -> dict[str, Any]:
        """As of one network, with how many clips each fold tests."""
        split = self.runs[0].system.predict_splits[0]
        return {
            **self.runs[0].facts(),
            "clips": {f"fold {n}": run.clips.counts[split] for n, run in enumerate(self.runs)},
        }

    def kept(self) -> dict[str, Any]:
        return self.runs[0].kept()

    def measures(self) -> dict[str, Any]:
        """How long all of them learned, and how fast."""
        seconds, examples = (sum(getattr(run, name) for run in self.runs) for name in ("seconds", "examples"))
        return {"examples_per_second": round(examples / seconds, 1), "train_seconds": round(seconds, 2)}


class Fitting(SteppedFitting):
    """The seeds of a job, one network each, or one for each fold."""

    system: System
    start = AudioRun

    @staticmethod
    def open(system: System, job: TrainingJob) -> Data | None:
        return None if system.cross_validation else Data(system, job)

    def fit(self, seed: int) -> Fit:
        if not self.system.cross_validation:
            return super().fit(seed)
        runs = []
        for fold in folds_of(self.job.manifest):
            torch.manual_seed(seed)
            data = Data(self.system, self.job, fold)
            runs.append(learn(AudioRun(self.system, self.job, data, seed)))
        return CrossValidated(seed, runs)

    @staticmethod
    def forwards(system: System, known: Known, clips: int) -> Iterator[Forward]:
        ((frames, bins),) = known.shapes.values()
        definition = system.model.model_dump()
        if "checkpoint" in definition:
            definition["checkpoint"] = None
        yield build(definition, (frames, bins), known.classes), (torch.empty(clips, frames, bins),), True


def build_network(system: System, job: TrainingJob, data: Data, seed: int) -> nn.Module:
    """The network as it is before training: with random weights, published ones, or another experiment's."""
    definition = system.model.model_dump()
    if (asset := system.checkpoint) is not None:
        if asset not in job.assets:
            raise UserError(f"assets: the network's first weights are not given; add {asset}")
        definition["checkpoint"] = job.assets[asset]
    network = build(definition, (data.frames, data.dims), data.heads.sizes)
    if INITIAL in job.uses:
        folder = folder_of_seed(job.uses[INITIAL], seed)
        start_from(network, read_weights(folder, seed), folder)
    if job.device == "cpu":  # where convolutions over maps take a tenth to a third less time in this order
        network = network.to(memory_format=torch.channels_last)
    return network


def start_from(network: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Gives a network all weights of another but those of the heads; refuses a network of other parts or sizes."""
    trunk = {name: values for name, values in network.state_dict().items() if not name.startswith(HEADS)}
    for name, values in trunk.items():
        if name not in weights or weights[name].shape != values.shape:
            raise UserError(f"uses: {INITIAL}: {where}: its network is another one: '{name}' is not there or differs")
    network.load_state_dict({name: weights[name] for name in trunk}, strict=False)


def optimiser(network: nn.Module, settings: Optimisation) -> torch.optim.Optimizer:
    """The optimiser of a network, in which biases, norms, position tables and class tokens do not decay."""
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (others if parameter.ndim < 2 or name.endswith(UNDECAYED) else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.optimiser == "sgd":
        return torch.optim.SGD(
            groups, settings.learning_rate, settings.momentum, nesterov=settings.nesterov, fused=True
        )
    rule = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return rule(groups, settings.learning_rate, settings.betas, fused=True)


def in_single(logits: Logits) -> Logits:
    """Logits in float32, whatever the precision of the network."""
    return {head: values.float() for head, values in logits.items()}


def scores(logits: Logits, targets: np.ndarray, split: str) -> Scores:
    """Loss and accuracies of a split: `<split>_top1`, and of several heads `<split>_<head>_top1`, `<split>_joint_top1`.

    `targets` are class numbers (clips, heads).
    """
    true = torch.from_numpy(targets)
    right = torch.stack([values.argmax(1) for values in logits.values()], 1) == true
    loss = sum(functional.cross_entropy(v.double(), t).item() for v, t in zip(logits.values(), true.T, strict=True))
    found = {f"{split}_loss": loss, f"{split}_{accuracy_name(logits)}": right.all(1).double().mean().item()}
    if len(logits) > 1:
        found |= {f"{split}_{head}_top1": right[:, n].double().mean().item() for n, head in enumerate(logits)}
    return found


def accuracy_name(heads: Iterable[str]) -> str:
    """What the share of the clips is called that all heads have right."""
    return "joint_top1" if len(list(heads)) > 1 else "top1"
