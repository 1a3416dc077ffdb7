"""Scores on resampled clips: made once for each experiment, and read by its tables and claims.

The weight of a clip in a replicate depends on the clips that its corpus has in the split, and on nothing else: two
experiments have the same weights wherever they have the same clips, so their scores are paired over those.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.metrics import bootstrap
from workflow_scripts.parquet import open_parquet, read_parquet
from workflow_scripts.progress import progress
from workflow_scripts.scores.counts import Clips, Counted
from workflow_scripts.scores.interface import Parts
from workflow_scripts.shards import Row, array_field, pack, shard_of, stack, write

GROUPS = 1 << 14  # at most, of clips that are drawn together


class Resample:
    """How often each replicate draws the clips of a split; the first draws each once and is the sample itself.

    Up to `GROUPS` clips are drawn one by one. More are drawn in as many groups, by a hash of their ids: the weights
    then take the same memory for any number of clips, and the width of an interval scatters by a relative
    √(1 / (2 GROUPS)), 0.6 %, beside the 2 % that 1,000 replicates scatter anyway.
    """

    def __init__(self, split: str, clips: Iterable[str], replicates: int) -> None:
        """`clips` are those of the split, or the first of them if more than `GROUPS`."""
        known = sorted(clips)
        groups = min(len(known), GROUPS)
        self.split, self.places = split, {clip: place for place, clip in enumerate(known)}
        self.one_by_one = len(known) <= GROUPS
        drawn = bootstrap.clip_weights(groups, replicates, split)
        self.weights = np.ascontiguousarray(np.vstack([np.ones(groups), drawn]).T, dtype=np.uint8)

    def groups(self, clips: list[str]) -> np.ndarray:
        """The group of each clip, a row of `weights`."""
        if not self.one_by_one:
            return np.array([shard_of(clip, GROUPS) for clip in clips], np.intp)
        unknown = next((clip for clip in clips if clip not in self.places), None)
        if unknown is not None:
            raise UserError(f"clip {unknown}: is predicted in the split '{self.split}', but not there in the manifest")
        return np.array([self.places[clip] for clip in clips], np.intp)


def resamples(manifest: Path, splits: Iterable[str], replicates: int) -> dict[str, Resample]:
    """The resamples of some splits of a corpus."""
    clips: dict[str, set[str]] = {split: set() for split in splits}
    with open_parquet(manifest) as file:
        for batch in file.iter_batches(columns=["clip_id", "split"]):
            for clip, split in zip(batch["clip_id"].to_pylist(), batch["split"].to_pylist(), strict=True):
                if split in clips and len(clips[split]) <= GROUPS:
                    clips[split].add(clip)
    for split, found in clips.items():
        if not found:
            raise UserError(f"{manifest}: has no clip of the split '{split}', which the predictions name")
    return {split: Resample(split, found, replicates) for split, found in clips.items()}


def write_replicates(counted: Counted, drawn: Mapping[str, Resample], path: Path) -> None:
    """Every metric of each seed and split, as scored and in every replicate: one row each."""
    field = array_field("replicates", "float64", (next(iter(drawn.values())).weights.shape[1] - 1,))
    systems = progress(list(counted.groups), "resampling", unit="seed and split")
    rows = [row for seed, split in systems for row in replicated(counted, seed, split, drawn[split], field)]
    names = "seed", "split", "metric", "clips", "value"
    types = pa.int32(), pa.string(), pa.string(), pa.int64(), pa.float64()
    write(path, rows, pa.schema([*zip(names, types, strict=True), field]))


def replicated(counted: Counted, seed: int, split: str, drawn: Resample, field: pa.Field) -> list[Row]:
    """The rows of one seed and split."""
    sizes = []

    def parts() -> Parts:
        for records, clips in counted.parts(seed, split):
            sizes.append(len(clips))
            yield records, drawn.groups(clips)

    scores = counted.scorer.replicate(parts(), drawn.weights)
    about = {"seed": seed, "split": split, "clips": sum(sizes)}
    return [
        {**about, "metric": metric, "value": float(values[0]), "replicates": pack(values[1:], field)}
        for metric, values in scores.items()
    ]


def rescored(counted: Counted, drawn: Resample, some: Clips) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The scores on some of the clips by metric: of each seed (seeds,), and resampled (seeds, replicates).

    A clip weighs what it weighs among all. A replicate that draws none of the clips has no score: NaN.
    """

    def parts(seed: int) -> Parts:
        for records, clips in counted.parts(seed, some.split):
            chosen = pc.is_in(pa.array(clips, pa.string()), some.ids).to_numpy(zero_copy_only=False)
            if chosen.any():
                yield records[chosen], drawn.groups(list(itertools.compress(clips, chosen)))

    with np.errstate(invalid="ignore"):
        scores = [counted.scorer.replicate(parts(seed), drawn.weights) for seed in counted.seeds(some.split)]
    empty = ~drawn.weights[np.unique(drawn.groups(some.ids.to_pylist()))].any(axis=0)
    found = {metric: np.stack([np.where(empty, np.nan, one[metric]) for one in scores]) for metric in scores[0]}
    return {metric: (values[:, 0], values[:, 1:]) for metric, values in found.items()}


@dataclass(frozen=True)
class Replicated:
    """The scores of one experiment, of each split by metric: as scored (seeds,), and resampled (seeds, replicates)."""

    seeds: list[int]
    clips: dict[str, int]  # by split
    scores: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]

    @classmethod
    def load(cls, path: Path) -> "Replicated":
        """From what `write_replicates` wrote."""
        table = read_parquet(path).sort_by([("split", "ascending"), ("seed", "ascending")])
        splits, metrics = (table[name].to_numpy() for name in ("split", "metric"))
        values, replicates = table["value"].to_numpy(), stack(table, "replicates")
        scores: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        for split, metric in dict.fromkeys(zip(splits.tolist(), metrics.tolist(), strict=True)):
            chosen = (splits == split) & (metrics == metric)
            scores.setdefault(split, {})[metric] = values[chosen], replicates[chosen]
        clips = dict(zip(splits.tolist(), table["clips"].to_pylist(), strict=True))
        return cls(sorted(set(table["seed"].to_pylist())), clips, scores)

    def check(self, split: str, where: str) -> None:
        """A split that was not scored is a `UserError`."""
        if split not in self.scores:
            raise UserError(f"{where} has no scores on '{split}'{did_you_mean(split, self.scores)}")

    def metric(self, split: str, metric: str, where: str) -> tuple[np.ndarray, np.ndarray]:
        """One metric on one split."""
        self.check(split, where)
        if metric not in self.scores[split]:
            raise UserError(f"{where} has no metric '{metric}'{did_you_mean(metric, self.scores[split])}")
        return self.scores[split][metric]
