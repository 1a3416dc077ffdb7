"""A tagger under one seed: how it learns, is scored, stops early, and predicts."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from workflow_scripts.formats.youtube8m import AUDIO, RGB
from workflow_scripts.metrics.multilabel import Ranked, Truth, outcome, scores
from workflow_scripts.models.losses import mean_sigmoid_cross_entropy, sum_cross_entropy
from workflow_scripts.shards import Row
from workflow_scripts.training.fitting import Forward, Known
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.loop import PRIOR, Run, Scores, SteppedFitting
from workflow_scripts.training.outputs import ranking
from workflow_scripts.training.schedules import staircase
from workflow_scripts.training.stream import Block, steps_an_epoch
from workflow_scripts.training.systems.video_tagger.data import Data, unpacked_labels
from workflow_scripts.training.systems.video_tagger.network import Feed, Tagger, Tensors, build_network, text_cnn
from workflow_scripts.training.systems.video_tagger.predictor import Predictor
from workflow_scripts.training.systems.video_tagger.settings import Dbof, Lstm, Moe, System, TextCnn

POOLED = 20  # classes of a video that enter the GAP


class TaggerRun(Run):
    """A tagger while it learns; `gap` is the last one on the dev split, and the run is `stopped` if it fell too far."""

    plain = (*Run.plain, "gap")
    watched = "dev_gap"
    system: System
    network: Tagger

    def __init__(self, system: System, job: TrainingJob, data: Data, seed: int) -> None:
        self.settings, self.data, self.gap = system.optimisation, data, 0.0
        self.logits, classes = system.model.logits, len(data.classes)
        title, lexicon = data.title_network, data.lexicon
        clusters, dimensions = (lexicon.count, lexicon.vectors.shape[1]) if lexicon else (0, 0)
        network = build_network(system.model, classes, clusters, dimensions, title.settings.hidden if title else 0)
        trained = title.load(seed, classes, dimensions, torch.device(job.device)) if title else None
        self.feed = Feed(system, data.vectors, trained)
        learned_from = [data.digest, lexicon and lexicon.digest, title and title.digest(seed)]
        steps = steps_an_epoch(data.counts[system.train_split], self.settings.batch)
        super().__init__(system, job, data, seed, network, self.settings.epochs, steps, learned_from)
        about = data.classes, data.most_frames, self.device, self.autocast
        self.predictor = Predictor(system, self.network, self.feed, *about)
        self.schema = self.predictor.schema

    def build_optimiser(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.learned, lr=self.settings.learning_rate, fused=True)

    @property
    def learned(self) -> list[nn.Parameter]:
        """The weights that are learned; the second biases of LSTMs are not."""
        return [parameter for parameter in self.network.parameters() if parameter.requires_grad]

    def batches(self) -> Iterator[Block]:
        settings, split = self.settings, self.system.train_split
        shuffled = self.data.shuffled(split, settings.batch, settings.shuffle_rows, self.seed, self.epoch)
        return itertools.islice(shuffled, self.batch, None)

    def on_device(self, block: Block) -> tuple[Tensors, torch.Tensor]:
        """What the network reads, and whether a clip has a label (clips, classes)."""
        targets = torch.from_numpy(unpacked_labels(block, len(self.data.classes)))
        return self.predictor.read(block), targets.to(self.device).float()

    def rate(self) -> float:
        settings = self.settings
        return staircase(self.examples, settings.learning_rate, settings.decay, settings.decay_examples)

    def batch_loss(self, inputs: Tensors, targets: torch.Tensor) -> torch.Tensor:
        """The batch's loss, without the penalty of large weights."""
        with self.autocast():
            outputs = self.network(*self.feed(inputs))
            classes = targets.shape[1]
            if self.logits:
                return mean_sigmoid_cross_entropy(outputs, targets) * (classes if self.settings.loss == "sum" else 1)
            return sum_cross_entropy(outputs, targets) / (classes if self.settings.loss == "mean" else 1)

    def adjust_gradients(self) -> None:
        """Adds those of l2 / 2 times the sum of the squares of the weights that the network names, then clips each."""
        self.scaler.unscale_(self.optimiser)
        if self.settings.l2:
            for weight in self.network.regularised():
                if weight.grad is not None:
                    weight.grad.add_(weight.detach(), alpha=self.settings.l2)
        if self.settings.clip is not None:
            clip_each(self.learned, self.settings.clip)

    def evaluate(self) -> Scores:
        """`dev_gap`: the global average precision of the dev split, or of its first clips.

        Its prior is that of the labels' frequencies there, the same for every clip.
        """
        system, lists, labels, classes = self.system, [], [], len(self.data.classes)
        blocks = self.data.in_order(system.dev_split, self.settings.batch, system.dev_clips)
        for block, probabilities in self.probabilities(blocks):
            lists.append(ranking(probabilities, min(POOLED, classes)))
            labels.append(unpacked_labels(block, classes).nonzero())
        best, value = (np.concatenate(parts) for parts in zip(*lists, strict=True))
        clip = np.repeat(np.arange(len(best)), best.shape[1])
        starts = np.cumsum([0, *(len(part[0]) for part in lists)])
        true = Truth(
            np.concatenate([clips + start for (clips, _), start in zip(labels, starts, strict=False)]),
            np.concatenate([label for _, label in labels]),
        )
        common, frequency = ranking(np.bincount(true.label, minlength=classes)[None] / len(best), best.shape[1])
        same = np.broadcast_to(common, best.shape).ravel(), np.broadcast_to(frequency, value.shape).ravel()
        gaps = []
        for lists_of in ((best.ravel(), value.ravel()), same):
            found = outcome(Ranked.of(clip, *lists_of), true, len(best), classes, POOLED)
            gaps.append(float(scores(found, np.ones((1, len(best))))["gap"][0]))
        return {"dev_gap": gaps[0], PRIOR: gaps[1]}

    def finish_epoch(self, scores: Scores) -> None:
        """Stops the run where the GAP is below a share of the last epoch's."""
        super().finish_epoch(scores)
        share, gap = self.settings.stop_below, scores["dev_gap"]
        self.stopped = share is not None and gap < share * self.gap
        self.gap = gap

    def probabilities(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, torch.Tensor]]:
        """Each block with the probabilities (clips, classes) of its clips."""
        return self.predictor.probabilities(blocks)

    def predict(self) -> Iterator[Row]:
        """Ranked classes, split by split, each in the order of the shards."""
        for split in self.system.predict_splits:
            for row in self.predictor.rows(self.data.in_order(split, self.settings.batch)):
                yield {"split": split, **row}

    def kept(self) -> dict[str, Any]:
        return {"classes": self.data.classes, "most_frames": self.data.most_frames}

    def facts(self) -> dict[str, Any]:
        """The size of what is learned, and why clips are left out."""
        return super().facts() | {
            "parameters": sum(parameter.numel() for parameter in self.learned),
            "left_out_for": {
                split: dict(reasons.most_common()) for split, reasons in sorted(self.data.reasons.items())
            },
        }


class Hidden(nn.Module):
    """A title network as another one reads it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.network.features(words)
        return features


class Fitting(SteppedFitting):
    """The seeds of a job, one network each."""

    open = Data
    start = TaggerRun

    @staticmethod
    def forwards(system: System, known: Known, clips: int) -> Iterator[Forward]:
        model, (classes,), titles = system.model, known.classes.values(), 0
        if isinstance(model, Moe) and "title" in model.inputs:
            title = known.used["textcnn"].model
            titles = title.hidden
            words = torch.empty(clips, title.title_length, known.vector)
            yield Hidden(text_cnn(title, classes, known.vector)), (words,), False
        network = build_network(model, classes, known.clusters, known.vector, titles)
        widths = {"visual": RGB, "audio": AUDIO, "keywords": known.clusters, "title": titles}
        width = sum(widths[name] for name in model.inputs)
        if isinstance(model, TextCnn):
            yield network, (torch.empty(clips, model.title_length, known.vector),), True
        elif isinstance(model, Dbof):
            yield network, (torch.empty(clips, model.samples, width),), True
        elif isinstance(model, Lstm):
            frames = known.shapes[model.stream][0]
            yield network, (torch.empty(clips, frames, width), torch.full((clips,), frames)), True
        else:
            yield network, (torch.empty(clips, width),), True


def clip_each(parameters: Iterable[nn.Parameter], norm: float) -> None:
    """Shrinks the gradient of every parameter whose norm is above `norm` to that norm, each on its own.

    The starter code clips variable by variable, not all gradients together.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.mul_(norm / torch.linalg.vector_norm(parameter.grad).clamp(min=norm))
