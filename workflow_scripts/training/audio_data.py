"""Clips with one class for each head of a network: features streamed from shards, labels from the manifest."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts import shards
from workflow_scripts.corpora.labels import SINGLE, classes_of
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.settings.base import read_json
from workflow_scripts.shards import STATE, Row, Status
from workflow_scripts.training.data import Inputs, tags
from workflow_scripts.training.stream import Block, Source, Stream


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


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of all features of the training clips."""

    mean: float
    std: float

    @classmethod
    def read(cls, path: Path) -> "Statistics":
        """The statistics in a reduction of the features."""
        stated = read_json(path)
        try:
            found = cls(float(stated["mean"]), float(stated["std"]))
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path}: does not state a mean and a std; make this reduction anew") from None
        if not found.std > 0:
            raise UserError(f"{path}: the features do not vary (std {found.std:g}); check the sounds")
        return found


def reduction(inputs: Inputs, role: str) -> Path:
    """The only reduction whose name is `role` or ends in `_<role>`."""
    found = [path for name, path in inputs.reductions.items() if name == role or name.endswith(f"_{role}")]
    if len(found) != 1:
        given = ", ".join(inputs.reductions) or "none"
        raise UserError(
            f"--reduction: needs one whose name is '{role}' or ends in '_{role}', given: {given}; "
            "see the experiment's reductions"
        )
    return found[0]


class ClipStream(Stream):
    """The clips of a manifest and their only feature; batches hold `clip_id`, `seconds`, `features`, `targets`.

    Feature shards know neither splits nor labels: a temporary shard beside each of them, the stream's first source,
    holds them. `targets` are class numbers (clips, heads).
    """

    def __init__(self, inputs: Inputs, heads: Heads, splits: Sequence[str], cache_bytes: int) -> None:
        if len(inputs.features) != 1:
            raise UserError(f"--features: needs exactly one feature, given: {', '.join(inputs.features) or 'none'}")
        ((name, files),) = inputs.features.items()
        clips = {
            row["clip_id"]: {"split": row["split"], "labels": heads.targets(row, inputs.manifest)}
            for row in shards.read(inputs.manifest)
            if row["split"] in splits
        }
        self.folder = tempfile.TemporaryDirectory(prefix="annotations-")
        beside = [annotate(file, Path(self.folder.name), clips) for file in files]
        annotations = Source("manifest", beside, ["labels"], targets)
        super().__init__([annotations, Source(name, files, ["seconds", "features"], features)], splits, cache_bytes)
        self.frames, self.bins = shards.array_spec(self.schemas[1].field("features"))[1]


def targets(table: pa.Table) -> Block:
    """Class numbers (clips, heads)."""
    return {"targets": pc.list_flatten(table["labels"]).to_numpy().astype(np.int64).reshape(table.num_rows, -1)}


def features(table: pa.Table) -> Block:
    """Stored features (clips, frames, bins) and the clips' seconds."""
    return {"seconds": table["seconds"].to_numpy(), "features": shards.stack(table, "features")}


def annotate(path: Path, folder: Path, clips: Mapping[str, Row]) -> Path:
    """Writes what is known of the clips of a feature shard, in its order and row groups; other clips are skipped."""
    schema = pa.schema([("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.int32())), STATE[0]])
    beside = folder / path.name
    with pq.ParquetFile(path) as file, pq.ParquetWriter(beside, schema) as writer:
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=["clip_id"])["clip_id"].to_pylist()
            states = (Status.OK if clip_id in clips else Status.SKIPPED for clip_id in ids)
            rows = [{"clip_id": i, "status": s, **clips.get(i, {})} for i, s in zip(ids, states, strict=True)]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return beside
