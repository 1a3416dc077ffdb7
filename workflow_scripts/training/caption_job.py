"""One job of captioning: all seeds of an experiment, from streamed features to result files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from workflow_scripts import shards
from workflow_scripts.captions.negatives import negatives
from workflow_scripts.errors import UserError
from workflow_scripts.metrics.captions import cider_d
from workflow_scripts.models.alignment import TextEncoder
from workflow_scripts.models.caption_decoders import Search
from workflow_scripts.models.captioners import BartCaptioner
from workflow_scripts.shards import Row
from workflow_scripts.training import processes
from workflow_scripts.training.caption_data import CaptionStream, Choice, TemporalCaptions
from workflow_scripts.training.caption_network import Network, build, longest, texts_of
from workflow_scripts.training.caption_run import Heard, Run
from workflow_scripts.training.caption_settings import Settings
from workflow_scripts.training.caption_texts import cut, padded
from workflow_scripts.training.checkpoints import digest, run_key
from workflow_scripts.training.data import Inputs
from workflow_scripts.training.outputs import caption_schema, write_history, write_weights
from workflow_scripts.training.stream import Block, steps_an_epoch
from workflow_scripts.training.streamed_run import Scores, learn


class Job:
    """The clips of an experiment as a stream, and the seeds trained on them one after the other."""

    def __init__(self, system: Settings, inputs: Inputs, *, checkpoints: Path, device: str, precision: str) -> None:
        if inputs.uses:
            raise UserError(f"--uses {next(iter(inputs.uses))}: this system uses no other experiment")
        self.system, self.checkpoints, self.precision = system, checkpoints, precision
        self.device, self.assets = torch.device(device), inputs.assets
        watched = [system.validation_split] if system.validation_split else []
        splits = list(dict.fromkeys([system.train_split, *watched, *system.predict_splits]))
        self.stream = CaptionStream(inputs, splits, system.remove_punctuation, system.cache_megabytes << 20)
        self.sentences = self.stream.sentences(system.train_split)
        self.texts = texts_of(system, self.sentences, self.assets)
        self.choice = Choice.of(system.train_captions, self.stream, system.train_split)
        learned = self.stream.of_split[system.train_split]
        self.temporal = TemporalCaptions.read(inputs, learned) if system.alignment else None
        self.search = Search(**system.search.model_dump())

    def run(self, seeds: list[int], folder: Path) -> dict[str, Any]:
        """Trains the seeds, then writes predictions, history and weights; returns facts for params.json."""
        runs = {seed: self.train(seed, folder) for seed in seeds}
        if not processes.dissolve():
            return {}
        predictions = (row for run in runs.values() for row in self.prediction_rows(run))
        shards.write(folder / "predictions.parquet", predictions, caption_schema(), rows_a_group=4096)
        write_history(folder / "history.parquet", (row for run in runs.values() for row in run.history))
        write_weights(folder / "weights.safetensors", {seed: run.model for seed, run in runs.items()})
        facts: dict[str, Any] = {
            "parameters": sum(parameter.numel() for parameter in runs[seeds[0]].model.parameters()),
            "vocabulary": self.texts.size,
            "clips": dict(sorted(self.stream.counts.items())),
            "left_out": dict(sorted(self.stream.left_out.items())),
            "examples_per_second": {str(seed): round(run.examples / run.seconds, 1) for seed, run in runs.items()},
            "train_seconds": {str(seed): round(run.seconds, 2) for seed, run in runs.items()},
        }
        if self.system.validation_split:
            best = {str(seed): {"epoch": run.best_epoch, "cider_d": run.best_score} for seed, run in runs.items()}
            facts["best"] = best
        return facts

    def train(self, seed: int, folder: Path) -> Run:
        """A finished run, which goes on from its checkpoint where there is one."""
        torch.manual_seed(seed)
        model = build(self.system, self.stream.dims, self.texts, self.sentences, self.assets, seed)
        self.check_lengths(model)
        path, optimisation = self.checkpoint_path(seed, model), self.system.optimisation
        self.steps_a_pass = steps_an_epoch(self.stream.counts[self.system.train_split], optimisation.batch)
        total = optimisation.epochs * self.choice.passes * self.steps_a_pass
        reader = self.text_encoder(model)
        run = Run(model, reader, self.system, seed, total, self.choice.passes, self.device, self.precision)
        learn(run, self.system, self.stream, lambda b: self.on_device(run, b), lambda: self.validate(run), path, folder)
        return run

    def check_lengths(self, model: Network) -> None:
        """Refuses features or captions that are longer than what the captioner reads."""
        self.longest = longest(model) or max(self.stream.frames, self.search.max_length)
        frames = self.stream.frames // getattr(model.encoder, "reduction", 1)
        for name, length in (("features", frames), ("search.max_length", self.search.max_length)):
            if length > self.longest:
                raise UserError(
                    f"'{name}' has {length} places, the captioner reads {self.longest}: raise its 'longest'"
                )

    def text_encoder(self, model: Network) -> TextEncoder | None:
        """What reads temporal captions: BART's encoder as it is before training."""
        if self.system.alignment is None or not isinstance(model.captioner, BartCaptioner):
            return None
        return model.captioner.text_encoder()

    def checkpoint_path(self, seed: int, model: Network) -> Path:
        """Where a run's checkpoint lies: the name is a hash of all that defines the run, its first weights included."""
        definition = self.system.model_dump(mode="json")
        data = [self.stream.digest, self.temporal and self.temporal.digest, digest(model)]
        parts = {"revision": self.system.revision, "data": data, "precision": self.precision, "seed": seed}
        return self.checkpoints / f"{run_key(definition=definition, **parts)}.pt"

    def on_device(self, run: Run, block: Block) -> tuple[Heard, Tensor]:
        """What a run's next step reads, and the captions (clips, length) that it learns to tell."""
        number = run.batch // self.steps_a_pass
        clips = [str(clip_id) for clip_id in block["clip_id"]]
        captions = [self.stream.captions[clip_id] for clip_id in clips]
        places = [
            self.choice.place(clip_id, len(own), run.seed, run.epoch, number)
            for clip_id, own in zip(clips, captions, strict=True)
        ]
        numbers = [self.texts.encode(own[place]) for own, place in zip(captions, places, strict=True)]
        targets = padded([cut(text, self.search.max_length) for text in numbers], self.texts.tokens.pad)
        eligible, texts = self.contrasted(run, clips, places)
        frames = torch.from_numpy(self.stream.valid(block["seconds"]))
        features = torch.from_numpy(block["features"][:, : int(frames.max())])
        return Heard(features, frames, eligible, texts).to(self.device), targets.to(self.device)

    def contrasted(self, run: Run, clips: Sequence[str], places: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Which clips have negatives (clips,), and the tokens (n, 1 + K, length) of their temporal captions."""
        eligible = torch.zeros(len(clips), dtype=torch.bool)
        if self.temporal is None or self.system.alignment is None:
            return eligible, None
        known = [row for row, key in enumerate(zip(clips, places, strict=True)) if key in self.temporal.of]
        own = [self.temporal.of[clips[row], places[row]] for row in known]
        names = [f"{clips[row]} {places[row]}" for row in known]
        settings = self.system.alignment.negatives
        drawn = negatives(own, names, settings, run.seed, run.epoch, self.temporal.reservoir)
        told = [[str(caption), *map(str, false)] for caption, false in zip(own, drawn, strict=True) if false]
        eligible[[row for row, false in zip(known, drawn, strict=True) if false]] = True
        if not told:
            return eligible, None
        numbers = [cut(self.texts.encode(text), self.longest) for texts in told for text in texts]
        return eligible, padded(numbers, self.texts.tokens.pad).unflatten(0, (len(told), 1 + settings.k))

    def blocks(self, split: str) -> Iterator[Block]:
        """The clips of a split in the order of the shards, with their valid `frames`."""
        for block in self.stream.in_order(split, self.system.optimisation.batch):
            yield block | {"frames": self.stream.valid(block["seconds"])}

    def captions(self, run: Run, split: str, search: Search) -> Iterator[tuple[Block, list[str]]]:
        """Each block of a split with the captions of its clips."""
        for block, numbers in run.told(self.blocks(split), search):
            yield block, [self.texts.decode(row) for row in numbers.tolist()]

    def validate(self, run: Run) -> Scores:
        """CIDEr-D of the validation split, in the epochs in which it is looked at; its words are split by spaces."""
        run.follow()
        split, epoch = self.system.validation_split, run.epoch + 1
        if split is None or (epoch % self.system.validate_every and epoch < self.system.optimisation.epochs):
            return {}
        said: list[str] = []
        references: list[list[str]] = []
        for block, captions in self.captions(run, split, self.search._replace(beam=self.system.validation_beam)):
            said += captions
            references += [self.stream.captions[clip_id] for clip_id in block["clip_id"]]
        return {run.score: float(cider_d(said, references).mean())}

    def prediction_rows(self, run: Run) -> Iterator[Row]:
        """The rows of the predictions file for one seed: split by split, each in the order of the shards."""
        for split in self.system.predict_splits:
            for block, captions in self.captions(run, split, self.search):
                for place, (clip_id, caption) in enumerate(zip(block["clip_id"], captions, strict=True)):
                    clip = {"seed": run.seed, "clip_id": clip_id, "split": split, "seconds": block["seconds"][place]}
                    yield clip | {"caption": caption}
