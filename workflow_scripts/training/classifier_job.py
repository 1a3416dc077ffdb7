"""One job of classification: all seeds of an experiment, from features to result files."""

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.progress import progress
from workflow_scripts.shards import Row
from workflow_scripts.training.arithmetic import autocast, refuse_infinite
from workflow_scripts.training.checkpoints import State, load, random_state, restore_random_state, run_key, save
from workflow_scripts.training.classifier_settings import Settings
from workflow_scripts.training.data import Inputs, ahead, load_clips, multi_hot
from workflow_scripts.training.outputs import logit_schema, write_history, write_weights
from workflow_scripts.training.sampling import Reshuffled
from workflow_scripts.training.stopping import stop_signal, stopped


class Job:
    """The clips of an experiment in memory, and the seeds trained on them one after the other."""

    def __init__(self, system: Settings, inputs: Inputs, *, checkpoints: Path, device: str, precision: str) -> None:
        self.system, self.checkpoints, self.precision = system, checkpoints, precision
        self.device = torch.device(device)
        self.autocast = autocast(self.device, precision)
        splits = list(dict.fromkeys([system.train_split, system.validation_split, *system.predict_splits]))
        self.clips = load_clips(inputs, system.streams, splits)
        self.training, self.validation = self.clips.of([system.train_split]), self.clips.of([system.validation_split])
        self.predicted = self.clips.of(system.predict_splits)
        if system.train_split not in system.predict_splits:
            count = min(system.predict_train, len(self.training))
            chosen = np.random.default_rng(0).choice(self.training, count, replace=False)
            self.predicted = np.concatenate([np.sort(chosen), self.predicted])
        known = np.concatenate([self.training, self.validation])
        self.targets = np.zeros(len(self.clips.rows), np.int64)
        self.targets[known] = class_numbers([self.clips.rows[place] for place in known], system.classes)
        self.digest = self.clips.digest(known)

    def run(self, seeds: list[int], folder: Path) -> dict[str, Any]:
        """Trains the seeds, then writes predictions, history and weights; returns facts for params.json."""
        runs = {seed: self.train(seed, folder) for seed in seeds}
        schema = logit_schema(self.system.classes)
        predictions = (row for seed in seeds for row in self.prediction_rows(seed, runs[seed][0], schema))
        shards.write(folder / "predictions.parquet", predictions, schema)
        write_history(folder / "history.parquet", (row for _, history in runs.values() for row in history))
        write_weights(folder / "weights.safetensors", {seed: model for seed, (model, _) in runs.items()})
        parameters = sum(parameter.numel() for parameter in runs[seeds[0]][0].parameters())
        return {"parameters": parameters, "clips": self.clips.counts(), "left_out": self.clips.left_out}

    def train(self, seed: int, folder: Path) -> tuple[nn.Module, list[Row]]:
        """The network with the weights of the epoch of the lowest validation loss, and the run's history.

        Goes on from the run's checkpoint, which is written after every epoch and when a signal stops the run.
        """
        settings = self.system.optimisation
        path = self.checkpoint_path(seed)
        torch.manual_seed(seed)
        run = Run(self.build(), settings.learning_rate, self.device, self.precision)
        if state := load(path, self.device):
            run.restore(state)
        sampler = Reshuffled(self.training, len(self.training), seed, self.system.train_split)
        epochs = progress(range(run.epoch, settings.max_epochs), f"seed {seed}", unit="epoch")
        with stop_signal() as stopping:
            for epoch in epochs:
                if run.epoch - run.best_epoch >= settings.patience:
                    break
                batches = self.batches(sampler.turn(epoch)[run.batch * settings.batch :], settings.batch)
                steps = math.ceil(len(self.training) / settings.batch)
                for streams, targets in ahead(batches):
                    if number := stopping():
                        save(path, run.state())
                        raise stopped(number, epoch * steps + run.batch, seed)
                    loss = run.step(self.on_device(streams), targets.to(self.device))
                    done = epoch * steps + run.batch
                    if done % self.system.record_every == 0 or run.batch == steps:
                        run.history.append({"seed": seed, "step": done, "epoch": epoch + 1, "loss": loss.item()})
                        refuse_infinite(loss.item(), f"{folder}: seed {seed}, step {done}", "learning_rate")
                scores = self.validate(run.model)
                refuse_infinite(
                    scores["validation_loss"],
                    f"{folder}: seed {seed}, validation after epoch {epoch + 1}",
                    "learning_rate",
                )
                run.finish_epoch(scores)
                save(path, run.state())
                if number := stopping():
                    raise stopped(number, (epoch + 1) * steps, seed)
        run.model.load_state_dict(run.best)
        return run.model, [with_best(row, run.best_epoch) for row in run.history]

    def build(self) -> nn.Module:
        """A network with fresh weights; refuses features of the wrong shape."""
        shapes = {name: self.clips.features[name].shape[1:] for name in self.system.streams}
        for name, (rows, columns) in shapes.items():
            if rows != {"image": columns, "audio": 1}[name]:
                expected = "square pictures" if name == "image" else "one row of samples"
                raise UserError(f"--features: '{name}' has clips of shape {(rows, columns)}, expected {expected}")
        return self.system.build({name: columns for name, (_, columns) in shapes.items()})

    def checkpoint_path(self, seed: int) -> Path:
        """Where a run's checkpoint lies: the name is a hash of all that defines the run."""
        definition = self.system.model_dump(mode="json")
        parts = {"revision": self.system.revision, "data": self.digest, "precision": self.precision, "seed": seed}
        return self.checkpoints / f"{run_key(definition=definition, **parts)}.pt"

    def batches(self, places: np.ndarray, size: int) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        """The streams and class numbers of the clips at `places`, `size` clips at a time, still off the device."""
        for start in range(0, len(places), size):
            part = places[start : start + size]
            streams = {name: torch.from_numpy(values[part]) for name, values in self.clips.features.items()}
            yield streams, torch.from_numpy(self.targets[part])

    def on_device(self, streams: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Streams moved to the device and made float32 there."""
        return {name: values.to(self.device).float() for name, values in streams.items()}

    def logits(self, model: nn.Module, places: np.ndarray) -> torch.Tensor:
        """The logits (clips, classes) of the clips at `places`, float32 on the CPU; leaves the model in eval mode."""
        model.eval()
        with torch.inference_mode(), self.autocast():
            batches = self.batches(places, 4 * self.system.optimisation.batch)
            return torch.cat([model(self.on_device(streams)).float().cpu() for streams, _ in batches])

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Mean cross entropy and accuracy over the validation clips."""
        logits, targets = self.logits(model, self.validation), torch.from_numpy(self.targets[self.validation])
        loss = functional.cross_entropy(logits.double(), targets).item()
        return {
            "validation_loss": loss,
            "validation_accuracy": (logits.argmax(1) == targets).double().mean().item(),
        }

    def prediction_rows(self, seed: int, model: nn.Module, schema: Any) -> Iterator[Row]:
        """The rows of the predictions file for one seed."""
        for place, logits in zip(self.predicted, self.logits(model, self.predicted).numpy(), strict=True):
            row = self.clips.rows[place]
            yield {
                "seed": seed,
                "clip_id": row["clip_id"],
                "split": row["split"],
                "seconds": self.clips.seconds[place],
                "logits": shards.pack(logits, schema.field("logits")),
            }


class Run:
    """A network and its optimiser, the history, and the weights of the best epoch so far; `state` holds all of it.

    `epoch` counts the finished epochs, `batch` the steps in the present one, and `best_epoch` is the number, from 1, of
    the one with the lowest validation loss, or 0 before the first.
    """

    def __init__(self, model: nn.Module, rate: float, device: torch.device, precision: str) -> None:
        self.device = device
        self.model = model.to(device)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=rate, fused=True)
        self.autocast = autocast(device, precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")
        self.history: list[Row] = []
        self.epoch, self.batch, self.best_epoch, self.best_loss = 0, 0, 0, math.inf
        self.best: State = {}

    def step(self, streams: dict[str, torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        """One update; returns the batch's mean cross entropy."""
        self.model.train()
        with self.autocast():
            loss = functional.cross_entropy(self.model(streams), targets)
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.batch += 1
        return loss.detach()

    def finish_epoch(self, scores: dict[str, float]) -> None:
        """Adds the epoch's scores to the history and keeps its weights if its validation loss is the lowest."""
        self.epoch, self.batch = self.epoch + 1, 0
        self.history[-1] |= scores
        if scores["validation_loss"] < self.best_loss:
            self.best_epoch, self.best_loss = self.epoch, scores["validation_loss"]
            self.best = copy.deepcopy(self.model.state_dict())

    def state(self) -> State:
        """All that the next step depends on."""
        plain = {name: getattr(self, name) for name in ("history", "epoch", "batch", "best_epoch", "best_loss", "best")}
        return plain | {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_state(self.device),
        }

    def restore(self, state: State) -> None:
        """Goes on from a `state`."""
        for name in ("history", "epoch", "best_epoch", "best_loss", "best"):
            setattr(self, name, state[name])
        self.batch = state.get("batch", 0)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        restore_random_state(state["random"], self.device)


def class_numbers(rows: list[Row], classes: list[str]) -> np.ndarray:
    """The place of each clip's only label among the classes: (clips,)."""
    targets = multi_hot(rows, classes)
    for row, total in zip(rows, targets.sum(axis=1), strict=True):
        if total != 1:
            raise UserError(f"clip '{row['clip_id']}': needs one label to learn from, has {row.get('labels')}")
    return targets.argmax(axis=1)


def with_best(row: Row, best_epoch: int) -> Row:
    """A line of the history; the last one of each epoch tells whether its weights were kept."""
    return row | {"best": float(row["epoch"] == best_epoch)} if "validation_loss" in row else row
