"""One job of video tagging: all seeds of an experiment, from streamed features to result files."""

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
from workflow_scripts.shards import Row
from workflow_scripts.training import processes
from workflow_scripts.training.checkpoints import run_key
from workflow_scripts.training.data import Inputs, ahead
from workflow_scripts.training.outputs import ranked_lists, ranking, ranking_schema, write_history, write_weights
from workflow_scripts.training.stream import Block
from workflow_scripts.training.streamed_run import Scores, StreamedRun, learn
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
from workflow_scripts.training.tagger_settings import Moe, Settings, TextCnn

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
        """Trains the seeds, then writes predictions, history and weights; returns facts for params.json.

        Of several processes only the first one writes; the others return nothing.
        """
        runs = {seed: self.train(seed, folder) for seed in seeds}
        if not processes.dissolve():
            return {}
        schema = ranking_schema(self.classes, min(self.system.top_k, len(self.classes)))
        predictions = (row for seed in seeds for row in self.prediction_rows(runs[seed], schema))
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
        """A finished run, which goes on from its checkpoint where there is one."""
        torch.manual_seed(seed)
        run = Run(self.build(), self.feed(seed), self.system, seed, self.device, self.precision)
        path = self.checkpoint_path(seed)
        learn(run, self.system, self.stream, self.on_device, lambda: self.dev_gap(run), path, folder)
        return run

    def on_device(self, block: Block) -> tuple[Tensors, torch.Tensor]:
        """A batch on the device: what the network reads, and what its outputs should be."""
        targets = torch.from_numpy(unpacked_labels(block, len(self.classes)))
        return tensors(block, self.device), targets.to(self.device).float()

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

    def dev_gap(self, run: "Run") -> Scores:
        """`dev_gap`: the global average precision of the dev split, or of its first clips."""
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
        return {"dev_gap": float(scores(found, np.ones((1, len(best))))["gap"][0])}

    def prediction_rows(self, run: "Run", schema: pa.Schema) -> Iterator[Row]:
        """The rows of the predictions file for one seed: split by split, each in the order of the shards."""
        for split in self.system.predict_splits:
            for block, probabilities in run.probabilities(self.stream.in_order(split, self.system.optimisation.batch)):
                for clip_id, lists in zip(block["clip_id"], ranked_lists(probabilities, schema), strict=True):
                    yield {"seed": run.seed, "clip_id": clip_id, "split": split, **lists}


class Run(StreamedRun):
    """A tagger while it learns; `gap` is the last one on the dev split, and the run is `stopped` if it fell too far."""

    plain = (*StreamedRun.plain, "gap", "stopped")
    model: Tagger

    def __init__(
        self, model: Tagger, feed: Feed, system: Settings, seed: int, device: torch.device, precision: str
    ) -> None:
        self.feed, self.settings, self.logits = feed, system.optimisation, system.model.logits
        self.parameters = [parameter for parameter in model.to(device).parameters() if parameter.requires_grad]
        optimiser = torch.optim.Adam(self.parameters, lr=self.settings.learning_rate, fused=True)
        super().__init__(model, optimiser, seed, device, precision)
        if system.compile:
            self.model.compile()
        self.gap = 0.0

    def rate(self) -> float:
        """The learning rate of the next step."""
        return self.settings.rate(self.examples)

    def batch_loss(self, inputs: Tensors, targets: torch.Tensor) -> torch.Tensor:
        """The batch's loss, without the penalty of large weights."""
        with self.autocast():
            outputs = self.model(*self.feed(inputs))
            classes = targets.shape[1]
            if self.logits:
                return mean_sigmoid_cross_entropy(outputs, targets) * (classes if self.settings.loss == "sum" else 1)
            return sum_cross_entropy(outputs, targets) / (classes if self.settings.loss == "mean" else 1)

    def adjust_gradients(self) -> None:
        """Adds those of l2 / 2 times the sum of the squares of the weights that the network names, then clips each."""
        self.scaler.unscale_(self.optimiser)
        if self.settings.l2:
            for weight in self.model.regularised():
                if weight.grad is not None:
                    weight.grad.add_(weight.detach(), alpha=self.settings.l2)
        if self.settings.clip is not None:
            clip_each(self.parameters, self.settings.clip)

    def finish_epoch(self, scores: Scores) -> None:
        """Records the epoch's GAP, and stops the run where it is below a share of the last epoch's."""
        super().finish_epoch(scores)
        share, gap = self.settings.stop_below, scores["dev_gap"]
        self.stopped = share is not None and gap < share * self.gap
        self.gap = gap

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


def clip_each(parameters: Iterable[nn.Parameter], norm: float) -> None:
    """Shrinks the gradient of every parameter whose norm is above `norm` to that norm, each on its own.

    The starter code clips variable by variable, not all gradients together.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(norm / torch.linalg.vector_norm(parameter.grad).clamp(min=norm))
