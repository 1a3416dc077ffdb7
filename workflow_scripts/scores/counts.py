"""What `scores.score` has counted of each clip, from which the score of any resample of the clips follows."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.errors import UserError
from workflow_scripts.files import read_parquet
from workflow_scripts.scores.interface import MetricFamily
from workflow_scripts.settings.plugins import FAMILIES, plugin
from workflow_scripts.shards import stack


@dataclass(frozen=True)
class Scored:
    """The records of one experiment."""

    scorer: MetricFamily
    seeds: list[int]
    clips: dict[str, list[str]]  # by split
    records: dict[str, np.ndarray]  # by split: (seeds, clips, …)

    @classmethod
    def load(cls, path: Path) -> "Scored":
        """From the `counts.parquet` that scoring wrote; every seed must have been scored on the same clips."""
        table = read_parquet(path)
        about = table.schema.metadata
        scorer: MetricFamily = plugin(FAMILIES, about[b"family"].decode(), str(path)).check(
            json.loads(about[b"settings"]), str(path)
        )
        table = table.sort_by([("split", "ascending"), ("seed", "ascending"), ("clip_id", "ascending")])
        splits, seeds, ids = (table[name].to_numpy() for name in ("split", "seed", "clip_id"))
        records = stack(table, "record")
        numbers = sorted(set(seeds.tolist()))
        clips, arrays = {}, {}
        for split in dict.fromkeys(splits.tolist()):
            inside = splits == split
            clips[split] = sorted(set(ids[inside].tolist()))
            if ids[inside].tolist() != clips[split] * len(numbers):
                raise UserError(f"{path}: its seeds are not scored on the same clips of '{split}'; score them together")
            arrays[split] = records[inside].reshape(len(numbers), len(clips[split]), *records.shape[1:])
        return cls(scorer, numbers, clips, arrays)
