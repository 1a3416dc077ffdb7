"""A BART under one seed: how it learns to restore texts, and what it restores."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflow_scripts import shards
from workflow_scripts.captions.grammar import GrammarError, TemporalCaption
from workflow_scripts.errors import UserError
from workflow_scripts.models.caption_decoders import caption_loss, shift_right
from workflow_scripts.models.captioners import BART_TOKENS, new_bart
from workflow_scripts.shards import Row, Status
from workflow_scripts.training.fitting import Forward, Known
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.loop import Run, Scores, SteppedFitting
from workflow_scripts.training.outputs import caption_schema
from workflow_scripts.training.stream import Block, steps_an_epoch
from workflow_scripts.training.systems.captioner.texts import MARKS, UNKNOWN, Words, collate, normal, truncate
from workflow_scripts.training.systems.denoiser.settings import Corruption, System

MASK = "<mask>"
WORDS, TOKENS = 5_000, 16  # of captions, about
VALIDATION = 0  # in the place of an epoch, from 1: texts of the validation split are masked in one way


class Texts:
    """The texts of a manifest by split, as tokens, and the words of those to learn from."""

    left_out: Mapping[str, int] = {}

    def __init__(self, system: System, job: TrainingJob) -> None:
        if job.uses or job.features:
            raise UserError("uses, features: this system reads nothing but texts; name neither")
        splits = [system.train_split, system.validation_split]
        rows = [row for row in shards.read(job.manifest) if row["split"] in splits and row["status"] == Status.OK]
        said = {split: [row for row in rows if row["split"] == split and row.get("captions")] for split in splits}
        for split, found in said.items():
            if not found:
                raise UserError(f"{job.manifest}: no caption of the split '{split}' to learn as text")
        texts = {split: [plain(text) for row in found for text in row["captions"]] for split, found in said.items()}
        self.ids = [row["clip_id"] for row in said[system.validation_split] for _ in row["captions"]]
        self.words = Words(texts[system.train_split], BART_TOKENS, (*MARKS, MASK))
        longest = system.captioner.longest
        self.numbers = {
            split: [truncate(self.words.encode(text), longest) for text in found] for split, found in texts.items()
        }
        self.counts = Counter({split: len(found) for split, found in texts.items()})
        self.digest = hashlib.blake2b(json.dumps(texts).encode(), digest_size=16).hexdigest()


def plain(text: str) -> str:
    """A caption as captioners learn it; a temporal caption keeps its marks."""
    try:
        return str(TemporalCaption.parse(text))
    except GrammarError:
        return normal(text)


def infilled(tokens: Sequence[int], settings: Corruption, mask: int, rng: np.random.Generator) -> list[int]:
    """Tokens of a text, of which all but the first and the last may be masked, span by span; spans may meet."""
    first, *words, last = tokens
    left = round(settings.masked * len(words))
    while left > 0:
        length = min(int(rng.poisson(settings.mean_span)), left, len(words))
        start = int(rng.integers(len(words) - length + 1))
        words[start : start + length] = [mask]
        left -= max(length, 1)
    return [first, *words, last]


class DenoisingRun(Run):
    """A BART while it learns; its last weights are kept."""

    system: System

    def __init__(self, system: System, job: TrainingJob, data: Texts, seed: int) -> None:
        self.settings, self.data, self.schema = system.optimisation, data, caption_schema()
        self.gradient_clipping, self.watched = self.settings.clip, f"{system.validation_split}_restored"
        self.mask = data.words.numbers[MASK]
        network = new_bart(data.words.size, **system.captioner.model_dump(exclude={"kind", "pretrained"}))
        steps = steps_an_epoch(data.counts[system.train_split], self.settings.batch)
        super().__init__(system, job, data, seed, network, self.settings.epochs, steps, data.digest)

    def build_optimiser(self) -> torch.optim.Optimizer:
        settings = self.settings
        return torch.optim.Adam(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )

    def batches(self) -> Iterator[Block]:
        count, size = self.data.counts[self.system.train_split], self.settings.batch
        order = np.random.default_rng([self.seed, self.epoch]).permutation(count)
        for start in range(self.batch * size, count, size):
            yield {"places": order[start : start + size]}

    def on_device(self, block: Block) -> tuple[Tensor, Tensor]:
        """Masked texts (texts, length) and whole ones."""
        return self.masked(self.system.train_split, block["places"].tolist(), self.epoch + 1)

    def masked(self, split: str, places: Sequence[int], epoch: int) -> tuple[Tensor, Tensor]:
        """The same of some texts; the seed, the epoch and the text fix what is masked."""
        whole = [self.data.numbers[split][place] for place in places]
        given = [
            infilled(tokens, self.system.corruption, self.mask, np.random.default_rng([self.seed, epoch, place]))
            for tokens, place in zip(whole, places, strict=True)
        ]
        pad = BART_TOKENS.pad
        return collate(given, pad).to(self.device), collate(whole, pad).to(self.device)

    def rate(self) -> float:
        return self.settings.schedule.rate(self.settings.learning_rate, self.steps, self.total, self.epochs)

    def batch_loss(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The cross entropy of the whole texts, all their tokens."""
        return caption_loss(self.logits(inputs, targets), targets, BART_TOKENS.pad)

    def weight(self, inputs: Tensor, targets: Tensor) -> list[float]:
        """The tokens, over which the loss is a mean."""
        return [int((targets != BART_TOKENS.pad).sum())]

    def logits(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Those (texts, length, vocabulary) of every token after the true ones before it."""
        with self.autocast():
            read = (inputs != BART_TOKENS.pad).long()
            before = shift_right(targets, BART_TOKENS.start)
            found: Tensor = self.network(
                input_ids=inputs, attention_mask=read, decoder_input_ids=before, use_cache=False
            ).logits
        return found

    def restored(self) -> Iterator[tuple[Tensor, Tensor]]:
        """The likeliest tokens of the validation split's texts (texts, length), and the true ones, batch by batch."""
        split, size = self.system.validation_split, self.settings.batch
        self.network.eval()
        for start in range(0, self.data.counts[split], size):
            places = range(start, min(start + size, self.data.counts[split]))
            inputs, targets = self.masked(split, places, VALIDATION)
            with torch.inference_mode():
                yield self.logits(inputs, targets).argmax(2), targets

    def evaluate(self) -> Scores:
        """The share of the validation split's tokens that are likeliest where they stand."""
        if not self.looks(self.system.validate_every):
            return {}
        right = np.array(
            [[((found == true) & (true != BART_TOKENS.pad)).sum().item(), (true != BART_TOKENS.pad).sum().item()]
             for found, true in self.restored()]
        )  # fmt: skip
        return {f"{self.system.validation_split}_restored": float(right[:, 0].sum() / right[:, 1].sum())}

    def predict(self) -> Iterator[Row]:
        """The texts of the validation split, restored token by token."""
        found = (row for tokens, _ in self.restored() for row in tokens.tolist())
        for clip_id, tokens in zip(self.data.ids, found, strict=True):
            caption = self.data.words.decode(tokens)
            yield {"clip_id": clip_id, "split": self.system.validation_split, "seconds": None, "caption": caption}

    def facts(self) -> dict[str, Any]:
        """Also the words, by whose numbers its embeddings stand."""
        return super().facts() | {"vocabulary": self.data.words.size, "words": " ".join(self.data.words.words)}


class Fitting(SteppedFitting):
    """The seeds of a job, one network each."""

    open = Texts
    start = DenoisingRun

    @staticmethod
    def forwards(system: System, known: Known, clips: int) -> Iterator[Forward]:
        network = new_bart(WORDS, **system.captioner.model_dump(exclude={"kind", "pretrained"}))
        yield network, (torch.full((clips, TOKENS), UNKNOWN),), True
