"""A captioner under one seed: how it learns, is scored, and captions."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from workflow_scripts.captions.negatives import negatives
from workflow_scripts.errors import UserError
from workflow_scripts.metrics.captions import cider_d
from workflow_scripts.models.alignment import Aligned, Alignment, TextEncoder
from workflow_scripts.models.caption_decoders import Search, caption_loss
from workflow_scripts.models.captioners import BartCaptioner
from workflow_scripts.models.captioners import build as build_captioner
from workflow_scripts.models.panns import Panns
from workflow_scripts.shards import Row
from workflow_scripts.training.checkpoints import State
from workflow_scripts.training.fitting import Forward, Known
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.loop import Run, Scores, SteppedFitting
from workflow_scripts.training.stream import Block, steps_an_epoch
from workflow_scripts.training.systems.captioner.data import Data
from workflow_scripts.training.systems.captioner.network import Network, build, build_encoder, longest
from workflow_scripts.training.systems.captioner.predictor import Predictor
from workflow_scripts.training.systems.captioner.settings import Bart, System
from workflow_scripts.training.systems.captioner.texts import UNKNOWN, Words, collate, truncate

WORDS, BART_WORDS, TOKENS = 5_000, 50_265, 16  # of captions and of a published BART; tokens of a caption, about
PARTS = 4  # in which texts are read, short ones first: less padding


@dataclass(frozen=True)
class Inputs:
    """What a step reads: features (clips, frames, dims), of which the first `frames` (clips,) are valid.

    `eligible` (clips,) tells which clips have negatives; `texts` (n, 1 + K, length) are the tokens of the temporal
    captions of these n clips, the true one first; None where there are none.
    """

    features: Tensor
    frames: Tensor
    eligible: Tensor
    texts: Tensor | None = None

    def to(self, device: torch.device) -> "Inputs":
        """The same on a device."""
        texts = None if self.texts is None else self.texts.to(device)
        return Inputs(self.features.to(device), self.frames.to(device), self.eligible.to(device), texts)

    def __getitem__(self, clips: slice) -> "Inputs":
        """Some of the clips, one after the other."""
        eligible, before = self.eligible[clips], int(self.eligible[: clips.start].sum())
        texts = self.texts[before : before + int(eligible.sum())] if self.texts is not None and eligible.any() else None
        return Inputs(self.features[clips], self.frames[clips], eligible, texts)


class CaptionRun(Run):
    """A captioner while it learns.

    `text_encoder`, which is frozen, is no part of its state: it is made anew with the first weights. `average` follows
    the weights from the epoch of that setting on.
    """

    system: System
    best_by = "cider_d"
    network: Network

    def __init__(self, system: System, job: TrainingJob, data: Data, seed: int) -> None:
        self.settings, self.data = system.optimisation, data
        self.gradient_clipping, self.watched = self.settings.clip, f"{system.validation_split}_cider_d"
        self.search = Search(**system.search.model_dump())
        self.steps_a_pass = steps_an_epoch(data.counts[system.train_split], self.settings.batch)
        network = build(system, data.dims, data.texts, data.sentences, job.assets, seed)
        if data.pretrained:
            data.pretrained.load(network, seed)
        self.longest = longest(network) or max(data.frames, self.search.max_length)
        self.check_lengths(network)
        self.text_encoder: TextEncoder | None = None
        if system.alignment and isinstance(network.captioner, BartCaptioner):
            self.text_encoder = network.captioner.text_encoder().to(torch.device(job.device))
            loss = system.alignment
            self.alignment = Alignment(loss.normalize, loss.include_positive, loss.temperature)
        steps = data.passes * self.steps_a_pass
        super().__init__(system, job, data, seed, network, self.settings.epochs, steps, data.learned_from)
        first = self.settings.average_from
        self.average = None if first is None else AveragedModel(self.network, use_buffers=True)
        self.schema = self.predictor.schema

    def check_lengths(self, network: Network) -> None:
        """Refuses features or captions that are longer than what the captioner reads."""
        frames = self.data.frames // network.encoder.reduction
        for name, length in (("features", frames), ("search.max_length", self.search.max_length)):
            if length > self.longest:
                raise UserError(
                    f"'{name}' has {length} places, the captioner reads {self.longest}: raise its 'longest'"
                )

    def build_optimiser(self) -> torch.optim.Optimizer:
        learned = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        settings = self.settings
        return torch.optim.Adam(learned, settings.learning_rate, weight_decay=settings.weight_decay, fused=True)

    def batches(self) -> Iterator[Block]:
        settings, split, passes = self.settings, self.system.train_split, self.data.passes
        batches = itertools.chain.from_iterable(
            self.data.shuffled(split, settings.batch, settings.shuffle_rows, self.seed, self.epoch * passes + number)
            for number in range(passes)
        )
        return itertools.islice(batches, self.batch, None)

    def on_device(self, block: Block) -> tuple[Inputs, Tensor]:
        """What the next step reads, and the captions (clips, length) that it learns."""
        clips = [str(clip_id) for clip_id in block["clip_id"]]
        number = self.batch // self.steps_a_pass
        places = [self.data.choose(clip_id, self.seed, self.epoch, number) for clip_id in clips]
        captions = [self.data.captions[clip_id][place] for clip_id, place in zip(clips, places, strict=True)]
        numbers = [truncate(self.data.texts.encode(caption), self.search.max_length) for caption in captions]
        targets = collate(numbers, self.data.texts.tokens.pad)
        eligible, texts = self.contrasted(clips, places)
        frames = torch.from_numpy(self.data.valid(block["seconds"]))
        features = torch.from_numpy(block["features"][:, : int(frames.max())])
        return Inputs(features, frames, eligible, texts).to(self.device), targets.to(self.device)

    def contrasted(self, clips: Sequence[str], places: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Which clips have negatives (clips,), and the tokens (n, 1 + K, length) of their temporal captions."""
        eligible = torch.zeros(len(clips), dtype=torch.bool)
        temporal = self.data.temporal
        if temporal is None or self.system.alignment is None:
            return eligible, None
        known = [row for row, key in enumerate(zip(clips, places, strict=True)) if key in temporal.of]
        own = [temporal.of[clips[row], places[row]] for row in known]
        names = [f"{clips[row]} {places[row]}" for row in known]
        settings = self.system.alignment.negatives
        drawn = negatives(own, names, settings, self.seed, self.epoch, temporal.reservoir)
        texts = [[str(caption), *map(str, false)] for caption, false in zip(own, drawn, strict=True) if false]
        eligible[[row for row, false in zip(known, drawn, strict=True) if false]] = True
        if not texts:
            return eligible, None
        numbers = [truncate(self.data.texts.encode(text), self.longest) for each in texts for text in each]
        return eligible, collate(numbers, self.data.texts.tokens.pad).unflatten(0, (len(texts), 1 + settings.k))

    def rate(self) -> float:
        return self.settings.schedule.rate(self.settings.learning_rate, self.steps, self.total, self.epochs)

    def teacher_forcing(self) -> float:
        """The chance that the decoder reads a true word in the next step."""
        return 1 - (1 - self.settings.teacher_forcing_at_end) * self.steps / max(self.total - 1, 1)

    def batch_loss(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """The cross entropy of captions (clips, length), and the alignment loss (Temp4Cap, equation 4)."""
        return self.losses(inputs, targets).sum()

    def losses(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """The two by themselves, or the first alone."""
        pad = self.network.tokens.pad
        with self.autocast():
            decoded = self.network(inputs.features.float(), inputs.frames, targets, self.teacher_forcing())
        loss = caption_loss(decoded.logits, targets, pad, self.settings.label_smoothing)
        self.terms = {"caption_loss": loss.detach()}
        if self.text_encoder is None or self.system.alignment is None:
            return loss
        aligned = self.align(self.text_encoder, decoded.states, targets != pad, inputs)
        self.terms |= {
            "alignment_loss": aligned.loss.detach(),
            "positive_similarity": aligned.positive,
            "negative_similarity": aligned.negative,
            "text_distance": aligned.distance,
        }
        return torch.stack([loss, self.system.alignment.weight * aligned.loss])

    def weight(self, inputs: Inputs, targets: Tensor) -> list[float]:
        """The tokens, over which the cross entropy is a mean, and the clips of the alignment loss."""
        tokens = int((targets != self.network.tokens.pad).sum())
        return [tokens] if self.text_encoder is None else [tokens, int(inputs.eligible.sum())]

    def align(self, encoder: TextEncoder, states: Tensor, mask: Tensor, inputs: Inputs) -> Aligned:
        """The alignment of decoder states (clips, length, dims), 0 where no clip has negatives."""
        if inputs.texts is None:
            return Aligned(*states.new_zeros(4, dtype=torch.float32))
        read = self.read(encoder, inputs.texts)
        aligned: Aligned = self.alignment(states, mask, inputs.eligible, read[:, 0], read[:, 1:])
        return aligned

    def read(self, encoder: TextEncoder, texts: Tensor) -> Tensor:
        """Texts (n, 1 + K, dims) of tokens (n, 1 + K, length), pooled; those of a like length are read together."""
        flat = texts.flatten(0, 1)
        lengths = (flat != encoder.pad).sum(1)
        parts = lengths.argsort(stable=True).chunk(PARTS)
        with self.autocast():
            read = [
                encoder.pooled(flat[part][:, : int(lengths[part].max())], self.alignment.normalize) for part in parts
            ]
        back = torch.cat(parts).argsort()
        return torch.cat(read)[back].unflatten(0, texts.shape[:2])

    def recorded(self) -> Row:
        """A line of the history, with the learning rate."""
        return super().recorded() | {"learning_rate": float(self.optimiser.param_groups[0]["lr"])}

    def follow(self) -> None:
        """Takes the weights at the end of an epoch into the average, from that epoch on in which it begins."""
        if self.average is not None and self.epoch + 1 >= (self.settings.average_from or 0):
            self.average.update_parameters(self.network)

    @property
    def predictor(self) -> Predictor:
        """What captions as the weights are now."""
        about = self.data.texts, self.search, self.data.clip_seconds, self.device, self.autocast
        return Predictor(self.captioner, *about)

    @property
    def captioner(self) -> Network:
        """The network that captions: the averaged one, once there is one."""
        if self.average is not None and self.average.n_averaged > 0:
            return cast(Network, self.average.module)
        return self.network

    def evaluate(self) -> Scores:
        """CIDEr-D of the validation split, in the epochs in which it is looked at; its words are split by spaces."""
        self.follow()
        split = self.system.validation_split
        if split is None or not self.looks(self.system.validate_every):
            return {}
        candidates: list[str] = []
        references: list[list[str]] = []
        search = self.search._replace(beam=self.system.validation_beam)
        for block, captions in self.generate(self.data.blocks(split), search):
            candidates += captions
            references += [self.data.captions[clip_id] for clip_id in block["clip_id"]]
        return {f"{split}_cider_d": float(cider_d(candidates, references).mean())}

    def finish_epoch(self, scores: Scores) -> None:
        """Notes whether the epoch has the best score so far, whose weights are kept if they are to predict."""
        super().finish_epoch(scores)
        if scores:
            (score,) = scores.values()
            self.note_best(score, self.captioner if self.system.select_by == "cider_d" else None)
            self.history[-1] |= {"best_epoch": self.best_epoch, "best_score": self.best_score}

    def generate(self, blocks: Iterable[Block], search: Search) -> Iterator[tuple[Block, list[str]]]:
        """Each block, which also holds `frames`, with the captions of its clips."""
        return self.predictor.captions(blocks, search)

    def predict(self) -> Iterator[Row]:
        """Captions, split by split, each in the order of the shards."""
        for split in self.system.predict_splits:
            for row in self.predictor.rows(self.data.in_order(split, self.settings.batch)):
                yield {"split": split, **row}

    def finish(self) -> None:
        """Takes the weights that are to predict, and frees the memory that only learning needs."""
        if self.system.select_by == "last":
            self.best = self.captioner.state_dict()
        super().finish()
        self.average = None

    def state(self) -> State:
        return super().state() | ({"average": self.average.state_dict()} if self.average is not None else {})

    def restore(self, state: State) -> None:
        super().restore(state)
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def facts(self) -> dict[str, Any]:
        return super().facts() | {"vocabulary": self.data.texts.size}

    def kept(self) -> dict[str, Any]:
        return {"words": self.data.texts.words} if isinstance(self.data.texts, Words) else {}


class Encoder(nn.Module):
    """An encoder as a captioner reads it, of clips that are full."""

    def __init__(self, encoder: Panns) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder.from_log_mel(features)


class Fitting(SteppedFitting):
    """The seeds of a job, one network each."""

    open = Data
    start = CaptionRun

    @staticmethod
    def forwards(system: System, known: Known, clips: int) -> Iterator[Forward]:
        (frames, dims), words = next(iter(known.shapes.values())), WORDS
        # what is drawn at random, and published weights, change no operation
        encoder = build_encoder(system.encoder.model_copy(update={"checkpoint": None, "augment": False}), dims, {})
        values = system.captioner.model_dump(exclude={"pretrained", "word_vectors"})
        if isinstance(system.captioner, Bart) and system.captioner.pretrained:
            words = BART_WORDS
        if isinstance(encoder, Panns):
            yield Encoder(encoder), (torch.empty(clips, frames, dims),), not encoder.frozen
        with torch.device("cpu"):  # captioners look at masks
            captioner, places = build_captioner(values, encoder.dims, words), frames // encoder.reduction
            embeddings, mask = torch.zeros(clips, places, encoder.dims), torch.ones(clips, places, dtype=torch.bool)
            yield captioner, (embeddings, mask, torch.full((clips, TOKENS), UNKNOWN)), True
            if system.alignment and isinstance(captioner, BartCaptioner):
                texts = torch.full((clips * (1 + system.alignment.negatives.k), TOKENS), UNKNOWN)
                yield captioner.text_encoder(), (texts,), False
