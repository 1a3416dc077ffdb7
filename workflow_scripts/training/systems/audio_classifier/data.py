"""Clips with one class for each head of a network: features streamed from shards, labels from the manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts import shards
from workflow_scripts.corpora.labels import SINGLE, classes_of
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.files import read_json
from workflow_scripts.parquet import parquet_schema, read_parquet
from workflow_scripts.shards import Row
from workflow_scripts.training.clips import check_shards, tags
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.stream import AnnotatedStream, Block
from workflow_scripts.training.systems.audio_classifier.augmentation import Preparation, Statistics
from workflow_scripts.training.systems.audio_classifier.settings import System

INITIAL = "initial"  # the role of an experiment whose weights are the first ones


@dataclass(frozen=True)
class Heads:
    """The classes of every head."""

    classes: Mapping[str, Sequence[str]]

    @classmethod
    def read(cls, path: Path) -> "Heads":
        """The heads that a reduction of the manifest states."""
        stated = read_json(path)
        heads = stated.get("heads") if isinstance(stated, dict) else None
        if not (isinstance(heads, dict) and heads and all(isinstance(names, list) for names in heads.values())):
            raise UserError(f"{path}: does not state the classes of any head; make this reduction anew")
        for head, names in heads.items():
            if len(names) < 2:
                raise UserError(f"{path}: the head '{head}' has {len(names)} classes, and needs two or more")
        return cls(heads)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of classes of every head."""
        return {head: len(names) for head, names in self.classes.items()}

    def targets(self, clip: Row, where: Path) -> list[int]:
        """The class number of a manifest row for every head; `UserError` for one without a label or a known class."""
        names = [] if list(self.classes) == [SINGLE] else list(self.classes)
        own = classes_of(clip["clip_id"], tags(clip), names)
        for head, known in self.classes.items():
            if own[head] not in known:
                raise UserError(
                    f"{where}: clip '{clip['clip_id']}' is of the class '{own[head]}', which the head '{head}' lacks"
                    f"{did_you_mean(own[head], known)}; make the reduction of the classes anew"
                )
        return [self.places[head][own[head]] for head in self.classes]

    @cached_property
    def places(self) -> dict[str, dict[str, int]]:
        """The number of every class, by head."""
        return {head: {name: place for place, name in enumerate(names)} for head, names in self.classes.items()}


def reduction(job: TrainingJob, role: str) -> Path:
    """The only reduction whose name is `role` or ends in `_<role>`."""
    found = [path for name, path in job.reductions.items() if name == role or name.endswith(f"_{role}")]
    if len(found) != 1:
        given = ", ".join(job.reductions) or "none"
        raise UserError(
            f"reductions: needs one whose name is '{role}' or ends in '_{role}', given: {given}; "
            "see the experiment's reductions"
        )
    return found[0]


class Data(AnnotatedStream):
    """The clips of a manifest and their only feature; batches also hold `targets`, class numbers (clips, heads).

    With a `fold` its clips are those that test, and those of the other folds train.
    """

    def __init__(self, system: System, job: TrainingJob, fold: int | None = None) -> None:
        for role in job.uses:
            if role != INITIAL:
                raise UserError(f"uses: this system uses '{INITIAL}' only, not '{role}'{did_you_mean(role, [INITIAL])}")
        if len(job.features) != 1:
            raise UserError(f"features: needs exactly one feature, given: {', '.join(job.features) or 'none'}")
        ((name, files),) = job.features.items()
        self.heads = Heads.read(reduction(job, "classes"))
        watched = [system.validation_split] if system.validation_split else []
        splits = list(dict.fromkeys([system.train_split, *watched, *system.predict_splits]))
        clips = {
            row["clip_id"]: {"split": split, "labels": self.heads.targets(row, job.manifest)}
            for row in shards.read(job.manifest)
            if (split := row["split"] if fold is None else side(system, row, fold)) in splits
        }
        check_shards(name, files, job.manifest, clips)
        super().__init__(name, files, clips, splits, system.cache_megabytes << 20, targets)
        needs_statistics = system.normalisation in ("ast", "standard")
        statistics = Statistics.read(reduction(job, "statistics")) if needs_statistics else None
        self.preparation = Preparation(system.normalisation, statistics, system.augmentation)
        self.preparation.check(self.frames, self.dims)
        self.learned_from = [self.digest, self.heads.classes, statistics and [statistics.mean, statistics.std]]


def side(system: System, row: Row, fold: int) -> str:
    """The split of a clip for the network that predicts a fold."""
    return system.predict_splits[0] if row["fold"] == fold else system.train_split


def folds_of(manifest: Path) -> list[int]:
    """The folds of a corpus; one without folds is a `UserError`."""
    if "fold" not in parquet_schema(manifest).names:
        raise UserError(
            f"{manifest}: cross_validation needs a corpus with folds; set `reading.folds` of an audio_folder"
        )
    return sorted(pc.unique(read_parquet(manifest, ["fold"])["fold"]).to_pylist())


def targets(table: pa.Table) -> Block:
    """Class numbers (clips, heads)."""
    return {"targets": pc.list_flatten(table["labels"]).to_numpy().astype(np.int64).reshape(table.num_rows, -1)}
