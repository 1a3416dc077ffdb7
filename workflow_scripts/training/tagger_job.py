"""One job of video tagging: all seeds of an experiment, from streamed features to result files."""

import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from workflow_scripts import shards
from workflow_scripts.metrics.multilabel import Ranked, Truth, outcome, scores
from workflow_scripts.models.dbof import DeepBagOfFrames
from workflow_scripts.models.losses import mean_sigmoid_cross_entropy, sum_cross_entropy
from workflow_scripts.progress import progress
from workflow_scripts.shards import Row
from workflow_scripts.training.arithmetic import autocast, refuse_infinite
from workflow_scripts.training.checkpoints import (
    State,
    load,
    random_state,
    restore_random_state,
    run_key,
    save,
    stop_signal,
)
from workflow_scripts.training.data import Inputs, ahead
from workflow_scripts.training.outputs import ranking, ranking_schema, write_history, write_weights
from workflow_scripts.training.stream import Block
from workflow_scripts.training.tagger_inputs import (
    Feed,
    Tagger,
    Tensors,
    TitleNetwork,
    build_network,
    only_lexicon,
    open_stream,
    tensors,
    unpacked_labels,
)
from workflow_scripts.training.tagger_settings import Moe, Optimisation, Settings, TextCnn

POOLED = 20  # classes of a video that enter the GAP


class Job:
    """The clips of an experiment as a stream, and the seeds trained on them one after the other."""

    def __init__(self, system: Settings, inputs: Inputs, *, checkpoints: Path, device: str, precision: str) -> None:
        self.system, self.checkpoints, self.precision = system, checkpoints, precision
        self.device, reads = torch.device(device), set(system.inputs)
        self.lexicon = only_lexicon(inputs) if reads & {"title", "keywords"} else None
        self.title = TitleNetwork(inputs.uses) if isinstance(system.model, Moe) and "title" in reads else None
        network = self.title.settings if self.title else system.model
        length = network.title_length if isinstance(network, TextCnn) else 0
        splits = list(dict.fromkeys([system.train_split, system.dev_split, *system.predict_splits]))
        self.stream, self.classes = open_stream(system, inputs, self.lexicon, length, splits)
        self.vectors = self.lexicon.table(self.device) if self.lexicon else torch.empty(0)

    def run(self, seeds: list[int], folder: Path) -> dict[str, Any]:
        """Trains the seeds, then writes predictions, history and weights; returns facts for params.json."""
        runs = {seed: self.train(seed, folder) for seed in seeds}
        schema = ranking_schema(self.classes, min(self.system.top_k, len(self.classes)))
        predictions = (row for seed in seeds for row in self.prediction_rows(seed, runs[seed], schema))
        shards.write(folder / "predictions.parquet", predictions, schema, rows_a_group=1024)
        write_history(folder / "history.parquet", (row for run in runs.values() for row in run.history))
        write_weights(folder / "weights.safetensors", {seed: run.model for seed, run in runs.items()})
        return {
            "parameters": sum(parameter.numel() for parameter in runs[seeds[0]].parameters),
            "clips": dict(sorted(self.stream.counts.items())),
            "left_out": dict(sorted(self.stream.left_out.items())),
            "examples_per_second": {str(seed): round(run.examples / run.seconds) for seed, run in runs.items()},
        }

    def train(self, seed: int, folder: Path) -> "Run":
        """A finished run; goes on from its checkpoint, which is written after every epoch and at times within it."""
        settings, path = self.system.optimisation, self.checkpoint_path(seed)
        torch.manual_seed(seed)
        run = Run(self.build(), self.feed(seed), self.system, self.device, self.precision)
        if state := load(path, self.device):
            run.restore(state)
        with stop_signal() as stopping:

            def leave_if_asked() -> None:
                if stopping():
                    save(path, run.state())
                    raise SystemExit(f"stopped by SIGTERM after step {run.steps} of seed {seed}; run again to go on")

            while run.epoch < settings.epochs and not run.stopped:
                for block in self.rest_of_epoch(run, seed):
                    leave_if_asked()
                    run.step(tensors(block, self.device), self.targets(block))
                    if run.steps % self.system.record_every == 0:
                        run.history.append(run.record(seed))
                        refuse_infinite(
                            run.history[-1]["loss"], f"{folder}: seed {seed}, step {run.steps}", "learning_rate"
                        )
                    if run.batch % self.system.checkpoint_every == 0:
                        save(path, run.state())
                run.finish_epoch(seed, self.dev_gap(run), settings.stop_below)
                refuse_infinite(run.history[-1]["loss"], f"{folder}: seed {seed}, step {run.steps}", "learning_rate")
                save(path, run.state())
                leave_if_asked()
        run.release()
        return run

    def rest_of_epoch(self, run: "Run", seed: int) -> Iterator[Block]:
        """The batches of a run's present epoch that it has not seen; a killed run reads past the others."""
        settings = self.system.optimisation
        split = self.system.train_split
        batches = self.stream.shuffled(split, settings.batch, settings.shuffle_rows, seed, run.epoch)
        count = -(-self.stream.counts[split] // settings.batch)
        return progress(
            ahead(itertools.islice(batches, run.batch, None)),
            f"seed {seed}, epoch {run.epoch + 1}",
            count - run.batch,
            "batch",
        )

    def targets(self, block: Block) -> torch.Tensor:
        """What a batch's outputs should be, on the device."""
        return torch.from_numpy(unpacked_labels(block, len(self.classes))).to(self.device).float()

    def build(self) -> Tagger:
        """The network with fresh weights (torch's random numbers initialise it)."""
        hidden = self.title.settings.hidden if self.title else 0
        return build_network(self.system.model, len(self.classes), self.lexicon, hidden)

    def feed(self, seed: int) -> Feed:
        """What makes a network's arguments under one seed."""
        if self.title is None:
            return Feed(self.system, self.vectors, None)
        network = self.title.load(seed, len(self.classes), self.vectors.shape[1], self.device)
        return Feed(self.system, self.vectors, network)

    def checkpoint_path(self, seed: int) -> Path:
        """Where a run's checkpoint lies: the name is a hash of all that defines the run."""
        definition = self.system.model_dump(mode="json")
        data = [self.stream.digest, self.lexicon and self.lexicon.digest, self.title and self.title.digest(seed)]
        parts = {"revision": self.system.revision, "data": data, "precision": self.precision, "seed": seed}
        return self.checkpoints / f"{run_key(definition=definition, **parts)}.pt"

    def dev_gap(self, run: "Run") -> float:
        """The global average precision of the dev split, or of its first clips."""
        system, lists, labels = self.system, [], []
        blocks = self.stream.in_order(system.dev_split, system.optimisation.batch, system.dev_clips)
        for block, probabilities in run.probabilities(blocks):
            lists.append(ranking(probabilities, min(POOLED, len(self.classes))))
            labels.append(unpacked_labels(block, len(self.classes)).nonzero())
        best, value = (np.concatenate(parts) for parts in zip(*lists, strict=True))
        clip = np.repeat(np.arange(len(best)), best.shape[1])
        starts = np.cumsum([0, *(len(part[0]) for part in lists)])
        true = Truth(
            np.concatenate([clips + start for (clips, _), start in zip(labels, starts, strict=False)]),
            np.concatenate([label for _, label in labels]),
        )
        found = outcome(Ranked.of(clip, best.ravel(), value.ravel()), true, len(best), len(self.classes), POOLED)
        return float(scores(found, np.ones((1, len(best))))["gap"][0])

    def prediction_rows(self, seed: int, run: "Run", schema: pa.Schema) -> Iterator[Row]:
        """The rows of the predictions file for one seed: split by split, each in the order of the shards."""
        classes, values = schema.field("classes"), schema.field("scores")
        count = shards.array_spec(classes)[1][0]
        for split in self.system.predict_splits:
            for block, probabilities in run.probabilities(self.stream.in_order(split, self.system.optimisation.batch)):
                for clip_id, best, score in zip(block["clip_id"], *ranking(probabilities, count), strict=True):
                    lists = {"classes": shards.pack(best, classes), "scores": shards.pack(score, values)}
                    yield {"seed": seed, "clip_id": clip_id, "split": split, **lists}


class Run:
    """A network and its optimiser, and how far they are; `state` holds all that the next step depends on.

    `epoch` counts the finished epochs, `batch` the steps in the present one, `steps` all of them, `examples` the clips
    learned from in `seconds`; `gap` is the last one on the dev split, and `stopped` tells that it fell too far.
    """

    plain = ("history", "epoch", "batch", "steps", "examples", "seconds", "loss", "gap", "stopped")

    def __init__(self, model: Tagger, feed: Feed, system: Settings, device: torch.device, precision: str) -> None:
        self.model, self.feed, self.device = model.to(device), feed, device
        self.settings: Optimisation = system.optimisation
        self.logits = system.model.logits
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.Adam(self.parameters, lr=self.settings.learning_rate, fused=True)
        self.autocast = autocast(device, precision)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "16-mixed")
        self.history: list[Row] = []
        self.epoch = self.batch = self.steps = self.examples = 0
        self.seconds, self.gap, self.stopped = 0.0, 0.0, False
        self.loss = torch.zeros(())
        self.finished_at = time.monotonic()

    def step(self, batch: Tensors, targets: torch.Tensor) -> None:
        """One update; the time since the step before counts as learning, however the batch was made meanwhile."""
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(self.examples)
        with self.autocast():
            loss = self.cross_entropy(self.model(*self.feed(batch)), targets)
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        self.penalise()
        if self.settings.clip is not None:
            clip_each(self.parameters, self.settings.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.loss = loss.detach()
        self.batch, self.steps, self.examples = self.batch + 1, self.steps + 1, self.examples + len(targets)
        now = time.monotonic()
        self.seconds, self.finished_at = self.seconds + now - self.finished_at, now

    def cross_entropy(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The batch's loss, without the penalty of large weights."""
        classes = targets.shape[1]
        if self.logits:
            return mean_sigmoid_cross_entropy(outputs, targets) * (classes if self.settings.loss == "sum" else 1)
        return sum_cross_entropy(outputs, targets) / (classes if self.settings.loss == "mean" else 1)

    def penalise(self) -> None:
        """Adds the gradient of l2 / 2 times the sum of the squares of the weights that the network names."""
        if self.settings.l2:
            for weight in self.model.regularised():
                if weight.grad is not None:
                    weight.grad.add_(weight.detach(), alpha=self.settings.l2)

    def record(self, seed: int) -> Row:
        """A line of the history."""
        return {"seed": seed, "step": self.steps, "epoch": self.epoch + 1, "loss": self.loss.item()}

    def finish_epoch(self, seed: int, gap: float, stop_below: float | None) -> None:
        """Records the epoch's GAP, and stops the run where it is below that share of the last epoch's."""
        if not self.history or self.history[-1]["step"] != self.steps:
            self.history.append(self.record(seed))
        self.history[-1]["dev_gap"] = gap
        self.stopped = stop_below is not None and gap < stop_below * self.gap
        self.gap, self.epoch, self.batch = gap, self.epoch + 1, 0

    def probabilities(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, torch.Tensor]]:
        """Each block with the probabilities (clips, classes) of its clips, float32 on the device.

        Networks that draw frames at random draw the same ones each time.
        """
        self.model.eval()
        chosen = {}
        if isinstance(self.model, DeepBagOfFrames):
            chosen["generator"] = torch.Generator(self.device).manual_seed(0)
        for block in ahead(iter(blocks)):
            with torch.inference_mode(), self.autocast():
                outputs = self.model(*self.feed(tensors(block, self.device)), **chosen).float()
                probabilities = outputs.sigmoid() if self.logits else outputs
            yield block, probabilities
        self.finished_at = time.monotonic()

    def release(self) -> None:
        """Frees the memory that only learning needs."""
        self.optimiser.zero_grad()
        self.optimiser.state.clear()

    def state(self) -> State:
        """All that the next step depends on."""
        return {name: getattr(self, name) for name in self.plain} | {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random_state(self.device),
        }

    def restore(self, state: State) -> None:
        """Goes on from a `state`."""
        for name in self.plain:
            setattr(self, name, state[name])
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        restore_random_state(state["random"], self.device)


def clip_each(parameters: Iterable[nn.Parameter], norm: float) -> None:
    """Shrinks the gradient of every parameter whose norm is above `norm` to that norm, each on its own.

    The starter code clips variable by variable, not all gradients together.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(norm / torch.linalg.vector_norm(parameter.grad).clamp(min=norm))
