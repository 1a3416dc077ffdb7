"""What `scores.score` has counted of each clip, from which the score of any resample of the clips follows."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.files import ANEW, parse_json
from workflow_scripts.parquet import open_parquet, parquet_schema
from workflow_scripts.scores.interface import MetricFamily
from workflow_scripts.settings.plugins import FAMILIES, plugin
from workflow_scripts.shards import stack

System = tuple[int, str]  # a seed and a split
Origin = tuple[Path, str]  # the manifest of a corpus, and a split


@dataclass(frozen=True, eq=False)
class Clips:
    """The clips of one split of a corpus on which a score rests."""

    corpus: Path  # its manifest, by which corpora are told apart
    split: str
    ids: pa.StringArray  # sorted

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def origin(self) -> Origin:
        """What they are a part of."""
        return self.corpus, self.split

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Clips):
            return self is other
        return self.origin == other.origin and self.ids.equals(other.ids)

    def __hash__(self) -> int:
        return hash((self.origin, len(self)))

    def common(self, other: "Clips") -> "Clips":
        """Those that both have, of the same origin."""
        return self if self == other else replace(self, ids=self.ids.filter(pc.is_in(self.ids, other.ids)))


@dataclass(frozen=True)
class Counted:
    """The records of one experiment, read row group by row group."""

    path: Path
    scorer: MetricFamily
    groups: dict[System, list[int]]  # the row groups that have clips of each seed and split

    @classmethod
    def open(cls, path: Path) -> "Counted":
        """From the `counts.parquet` that scoring wrote."""
        about = parquet_schema(path).metadata or {}
        if not about.keys() >= {b"family", b"settings"}:
            raise UserError(f"{path}: does not hold what scoring has counted; {ANEW}")
        settings = parse_json(about[b"settings"], str(path))
        scorer: MetricFamily = plugin(FAMILIES, about[b"family"].decode(), str(path)).check(settings, str(path))
        groups: dict[System, list[int]] = {}
        with open_parquet(path) as file:
            for number in range(file.num_row_groups):
                table = file.read_row_group(number, ["seed", "split"])
                for row in table.group_by(["seed", "split"]).aggregate([]).to_pylist():
                    groups.setdefault((row["seed"], row["split"]), []).append(number)
        return cls(path, scorer, dict(sorted(groups.items())))

    def seeds(self, split: str) -> list[int]:
        """The seeds that are scored on a split."""
        found = [seed for seed, known in self.groups if known == split]
        if not found:
            known = sorted({split for _, split in self.groups})
            raise UserError(f"{self.path}: has no scores on '{split}'{did_you_mean(split, known)}")
        return found

    def clips(self, split: str, manifest: Path) -> Clips:
        """The clips of a split of the corpus with this manifest that are scored, the same by all seeds."""
        found, seed = [], self.seeds(split)[0]
        with open_parquet(self.path) as file:
            for number in self.groups[seed, split]:
                table = file.read_row_group(number, ["seed", "split", "clip_id"])
                found.append(table.filter((pc.field("seed") == seed) & (pc.field("split") == split))["clip_id"])
        ids = pa.chunked_array([chunk for column in found for chunk in column.chunks], pa.string()).combine_chunks()
        return Clips(manifest, split, ids.sort())

    def records(self, seed: int, split: str) -> Iterator[np.ndarray]:
        """The records of a seed and split, part by part."""
        return (records for records, _ in self.parts(seed, split))

    def parts(self, seed: int, split: str) -> Iterator[tuple[np.ndarray, list[str]]]:
        """The records of a seed and split with the ids of their clips."""
        with open_parquet(self.path) as file:
            for number in self.groups[seed, split]:
                table = file.read_row_group(number)
                table = table.filter((pc.field("seed") == seed) & (pc.field("split") == split))
                yield stack(table, "record"), table["clip_id"].to_pylist()
