"""Clips for training that are asked for by their places: manifest rows joined with the features of several streams."""

import hashlib
import json
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from workflow_scripts import shards
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.parquet import open_parquet, read_parquet
from workflow_scripts.shards import Row, Status
from workflow_scripts.training.job import TrainingJob

log = logging.getLogger(__name__)


class Scratch:
    """Arrays of clips in a file without a name, which ends with the process: memory holds those only that are read."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as this is
        self.shape, self.dtype = shape, dtype
        self.bytes = int(np.prod(shape)) * dtype.itemsize

    def write(self, places: Sequence[int], values: np.ndarray) -> None:
        """Stores the arrays of some clips."""
        for place, value in zip(places, values, strict=True):
            os.pwrite(self.file.fileno(), value.data, place * self.bytes)

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        """The arrays of some clips: (places, *shape)."""
        found = np.empty((len(places), *self.shape), self.dtype)
        for place, value in zip(places.tolist(), found, strict=True):
            if os.preadv(self.file.fileno(), [value.data], place * self.bytes) != self.bytes:
                raise OSError(f"the features of clip {place} cannot be read from scratch")
        return found


@dataclass(frozen=True)
class Clips:
    """The usable clips, in the manifest's order, whatever the number of shards.

    `features` holds for every stream arrays (frames, dimensions) in their stored dtype. `left_out` counts the clips of
    every split that lack a stream.
    """

    rows: list[Row]
    seconds: np.ndarray
    features: dict[str, Scratch]
    left_out: dict[str, int]

    def of(self, splits: Iterable[str]) -> np.ndarray:
        """The places of the clips of some splits; a split without clips raises `UserError`."""
        wanted = list(splits)
        found = Counter(row["split"] for row in self.rows)
        for split in wanted:
            if not found[split]:
                raise UserError(
                    f"no clip of the split '{split}' has all of the features {', '.join(self.features)} "
                    f"({self.left_out.get(split, 0)} left out): see the reasons in the feature shards"
                )
        return np.array([place for place, row in enumerate(self.rows) if row["split"] in wanted])

    @property
    def counts(self) -> dict[str, int]:
        """The number of usable clips of every split."""
        return dict(sorted(Counter(row["split"] for row in self.rows).items()))

    def digest(self, places: np.ndarray) -> str:
        """A hash of everything that training can learn from the clips at `places`."""
        total = hashlib.blake2b(digest_size=16)
        for place in places:
            total.update(json.dumps(self.rows[place], sort_keys=True, default=str).encode())
            for name in sorted(self.features):
                total.update(name.encode())
                total.update(self.features[name][np.array([place])].data)
        return total.hexdigest()


def load_clips(job: TrainingJob, streams: Sequence[str], splits: Sequence[str]) -> Clips:
    """The clips of `splits` that are `ok` in every stream; their seconds are those that the first stream states.

    Features are decoded once, into scratch files beside the checkpoints.
    """
    for name in streams:
        if name not in job.features:
            raise UserError(f"features: the stream '{name}' is not given{did_you_mean(name, job.features)}")
    manifest = [row for row in shards.read(job.manifest) if row["split"] in splits]
    asked = [row["clip_id"] for row in manifest]
    usable = set(asked)
    seconds: dict[str, float] = {}
    for name in streams:
        check_shards(name, job.features[name], job.manifest, asked)
        states = [row for file in job.features[name] for row in shards.read(file, ["clip_id", "seconds", "status"])]
        usable &= {row["clip_id"] for row in states if row["status"] == Status.OK}
        seconds = {row["clip_id"]: row["seconds"] for row in states} | seconds
    rows = [row for row in manifest if row["clip_id"] in usable]
    left_out = dict(sorted(Counter(row["split"] for row in manifest if row["clip_id"] not in usable).items()))
    if left_out:
        log.info("left out for want of a feature: %s", ", ".join(f"{n} {split}" for split, n in left_out.items()))
    places = {row["clip_id"]: place for place, row in enumerate(rows)}
    features = {name: decode(name, job.features[name], places, job.checkpoints) for name in streams}
    return Clips(rows, np.array([seconds[row["clip_id"]] for row in rows]), features, left_out)


def check_shards(name: str, files: Sequence[Path], manifest: Path, wanted: Collection[str]) -> None:
    """Raises `UserError` unless the shards of a feature are the manifest's: no clip of another one, none twice.

    All clips that are `wanted` must have a row, whatever became of them.
    """
    known = set(read_parquet(manifest, ["clip_id"])["clip_id"].to_pylist())
    seen: dict[str, Path] = {}
    for path in files:
        for clip_id in read_parquet(path, ["clip_id"])["clip_id"].to_pylist():
            if clip_id not in known:
                raise UserError(
                    f"{path}: the clip '{clip_id}' is not in {manifest}, so it is no shard of this corpus now; "
                    "remove the file and run again"
                )
            if clip_id in seen:
                raise UserError(
                    f"{path}: the clip '{clip_id}' is in {seen[clip_id]} as well, or twice; remove both and run again"
                )
            seen[clip_id] = path
    if missing := [clip_id for clip_id in wanted if clip_id not in seen]:
        path = files[shards.shard_of(missing[0], len(files))]
        raise UserError(
            f"{path}: has no row for {len(missing)} of the clips in {manifest} (the first: '{missing[0]}'), so the "
            f"feature '{name}' is not whole; remove the file and run again"
        )


def decode(name: str, files: Sequence[Path], places: Mapping[str, int], folder: Path) -> Scratch:
    """One stream's features in scratch, each clip at its place; a row group at a time is in memory."""
    result: Scratch | None = None
    for path in files:
        with open_parquet(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["clip_id", "features"])
                ids = table["clip_id"].to_pylist()
                chosen = [n for n, clip_id in enumerate(ids) if clip_id in places]
                values = shards.stack(table.take(pa.array(chosen, pa.int64())), "features")
                result = result or Scratch(folder, values.shape[1:], values.dtype)
                if values.shape[1:] != result.shape:
                    raise UserError(
                        f"{path}: clips of '{name}' have shape {values.shape[1:]}, those before {result.shape}: "
                        "remake the features of one of them"
                    )
                result.write([places[ids[n]] for n in chosen], values)
    if result is None:
        raise UserError(f"features: the stream '{name}' has no shard with clips")
    return result


def tags(row: Row) -> list[str] | None:
    """A clip's labels, or those of its events, or None when it has no annotation."""
    labels: list[str] | None = row.get("labels")
    if labels is None and row.get("events") is not None:
        return sorted({event["label"] for event in row["events"]})
    return labels


def multi_hot(rows: Sequence[Row], classes: Sequence[str]) -> np.ndarray:
    """Targets (clips, classes) of 0 and 1 in float32; a clip without annotation has NaN everywhere."""
    targets = np.zeros((len(rows), len(classes)), np.float32)
    index = {name: number for number, name in enumerate(classes)}
    for place, row in enumerate(rows):
        labels = tags(row)
        if labels is None:
            targets[place] = np.nan
            continue
        for label in labels:
            if label not in index:
                raise UserError(
                    f"clip '{row['clip_id']}': the label '{label}' is not among the classes{did_you_mean(label, index)}"
                )
            targets[place, index[label]] = 1
    return targets


def statistics(features: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each dimension over the features (frames, dimensions) of some clips, float32.

    A dimension that never varies gets the deviation 1. Sums run clip by clip in float64: the same on every machine
    with the same order of clips.
    """
    total: Any = 0.0
    squares: Any = 0.0
    count = 0
    for clip in features:
        values = clip.astype(np.float64)
        total, squares, count = total + values.sum(0), squares + np.square(values).sum(0), count + len(values)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    deviation[deviation < 1e-4] = 1
    return mean.astype(np.float32), deviation.astype(np.float32)
