"""One job of the classification of sounds: all seeds of an experiment, from streamed features to result files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from workflow_scripts import shards
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.models.audio_classifiers import build
from workflow_scripts.shards import Row
from workflow_scripts.training import processes
from workflow_scripts.training.audio_data import ClipStream, Heads, Statistics, reduction
from workflow_scripts.training.audio_run import Run, accuracy_name, scores
from workflow_scripts.training.audio_settings import Settings
from workflow_scripts.training.augmentation import Preparation
from workflow_scripts.training.checkpoints import digest, run_key
from workflow_scripts.training.data import Inputs
from workflow_scripts.training.outputs import heads_schema, read_weights, write_history, write_weights
from workflow_scripts.training.stream import Block, steps_an_epoch
from workflow_scripts.training.streamed_run import Scores, learn

INITIAL = "initial"  # the role of an experiment whose weights are the first ones
HEADS = ("head.", "heads.")  # beginnings of the names of parameters that depend on the classes


class Job:
    """The clips of an experiment as a stream, and the seeds trained on them one after the other."""

    def __init__(self, system: Settings, inputs: Inputs, *, checkpoints: Path, device: str, precision: str) -> None:
        self.system, self.checkpoints, self.precision = system, checkpoints, precision
        self.device = torch.device(device)
        for role in inputs.uses:
            if role != INITIAL:
                raise UserError(f"--uses {role}: this system uses '{INITIAL}' only{did_you_mean(role, [INITIAL])}")
        self.initial = inputs.uses.get(INITIAL)
        self.assets: Mapping[str, Path] = inputs.assets
        self.heads = Heads.read(reduction(inputs, "classes"))
        watched = [system.validation_split] if system.validation_split else []
        self.accuracy = f"{system.validation_split}_{accuracy_name(self.heads.classes)}"
        splits = list(dict.fromkeys([system.train_split, *watched, *system.predict_splits]))
        self.stream = ClipStream(inputs, self.heads, splits, system.cache_megabytes << 20)
        needs_statistics = system.normalisation in ("ast", "standard")
        self.statistics = Statistics.read(reduction(inputs, "statistics")) if needs_statistics else None
        self.preparation = Preparation(system.normalisation, self.statistics, system.augmentation)
        self.preparation.check(self.stream.frames, self.stream.bins)

    def run(self, seeds: list[int], folder: Path) -> dict[str, Any]:
        """Trains the seeds, then writes predictions, history and weights; returns facts for params.json.

        Of several processes only the first one writes; the others return nothing.
        """
        runs = {seed: self.train(seed, folder) for seed in seeds}
        if not processes.dissolve():
            return {}
        schema = heads_schema(self.heads.classes)
        predictions = (row for run in runs.values() for row in self.prediction_rows(run, schema))
        shards.write(folder / "predictions.parquet", predictions, schema, rows_a_group=1024)
        write_history(folder / "history.parquet", (row for run in runs.values() for row in run.history))
        write_weights(folder / "weights.safetensors", {seed: run.model for seed, run in runs.items()})
        facts: dict[str, Any] = {
            "parameters": sum(parameter.numel() for parameter in runs[seeds[0]].model.parameters()),
            "classes": self.heads.sizes,
            "clips": dict(sorted(self.stream.counts.items())),
            "left_out": dict(sorted(self.stream.left_out.items())),
            "examples_per_second": {str(seed): round(run.examples / run.seconds, 1) for seed, run in runs.items()},
        }
        if self.system.validation_split:
            best = {str(seed): {"epoch": run.best_epoch, "accuracy": run.best_accuracy} for seed, run in runs.items()}
            facts["best"] = best
        return facts

    def train(self, seed: int, folder: Path) -> Run:
        """A finished run, which goes on from its checkpoint where there is one."""
        torch.manual_seed(seed)
        model, optimisation = self.build(seed), self.system.optimisation
        path = self.checkpoint_path(seed, model)
        total = optimisation.epochs * steps_an_epoch(self.stream.counts[self.system.train_split], optimisation.batch)
        run = Run(model, self.preparation, self.system, seed, total, self.accuracy, self.device, self.precision)
        learn(run, self.system, self.stream, self.on_device, lambda: self.validate(run), path, folder)
        return run

    def on_device(self, block: Block) -> tuple[Tensor, Tensor]:
        """Features and targets of a batch, on the device."""
        features, targets = (torch.from_numpy(block[name]).to(self.device) for name in ("features", "targets"))
        return features, targets

    def build(self, seed: int) -> nn.Module:
        """The network as it is before training (torch's random numbers initialise it)."""
        definition = self.system.model.model_dump()
        if (asset := self.system.checkpoint) is not None:
            if asset not in self.assets:
                raise UserError(f"--asset: the network's first weights are not given; add {asset}=PATH")
            definition["checkpoint"] = self.assets[asset]
        model = build(definition, (self.stream.frames, self.stream.bins), self.heads.sizes)
        if self.initial is not None:
            start_from(model, read_weights(self.initial, seed), self.initial)
        return model

    def checkpoint_path(self, seed: int, model: nn.Module) -> Path:
        """Where a run's checkpoint lies: the name is a hash of all that defines the run, its first weights included."""
        definition = self.system.model_dump(mode="json")
        statistics = self.statistics and [self.statistics.mean, self.statistics.std]
        data = [self.stream.digest, self.heads.classes, statistics, digest(model)]
        parts = {"revision": self.system.revision, "data": data, "precision": self.precision, "seed": seed}
        return self.checkpoints / f"{run_key(definition=definition, **parts)}.pt"

    def validate(self, run: Run) -> Scores:
        """Scores on the validation split, in the epochs in which it is looked at."""
        split, epoch = self.system.validation_split, run.epoch + 1
        if split is None or (epoch % self.system.validate_every and epoch < self.system.optimisation.epochs):
            return {}
        blocks = self.stream.in_order(split, self.system.optimisation.batch)
        targets, parts = zip(*((block["targets"], logits) for block, logits in run.logits(blocks)), strict=True)
        logits = {head: torch.cat([part[head] for part in parts]) for head in self.heads.classes}
        return scores(logits, np.concatenate(targets), split)

    def prediction_rows(self, run: Run, schema: pa.Schema) -> Iterator[Row]:
        """The rows of the predictions file for one seed: split by split, each in the order of the shards."""
        for split in self.system.predict_splits:
            for block, logits in run.logits(self.stream.in_order(split, self.system.optimisation.batch)):
                for place, clip_id in enumerate(block["clip_id"]):
                    row = {"seed": run.seed, "clip_id": clip_id, "split": split, "seconds": block["seconds"][place]}
                    for head, values in logits.items():
                        name = f"logits_{head}"
                        row[name] = shards.pack(values[place].numpy(), schema.field(name))
                    yield row


def start_from(model: nn.Module, weights: Mapping[str, Tensor], where: Path) -> None:
    """Gives a network all weights of another but those of the heads; refuses a network of other parts or sizes."""
    trunk = {name: values for name, values in model.state_dict().items() if not name.startswith(HEADS)}
    for name, values in trunk.items():
        if name not in weights or weights[name].shape != values.shape:
            raise UserError(f"--uses {INITIAL}={where}: its network is another one: '{name}' is not there or differs")
    model.load_state_dict({name: weights[name] for name in trunk}, strict=False)
