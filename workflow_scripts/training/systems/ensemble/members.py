"""The ranked predictions of an ensemble's members, read side by side.

Only the names of the clips are held in memory; classes and scores are read where they are asked for.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.parquet import open_parquet
from workflow_scripts.training.outputs import folder_of_seed

Lists = Sequence[tuple[np.ndarray, np.ndarray]]  # every member's classes and scores, both (clips, k), the best first
READ, BATCH = 16384, 1024  # clips read from the files at once, clips handed out at once


class Member:
    """One member's predictions under one seed: `clip_ids`, `splits` and, on demand, ranked classes and scores."""

    def __init__(self, role: str, file: Path, seed: int) -> None:
        self.role, self.path = role, file
        if not file.exists():
            raise UserError(f"{file}: the predictions of '{role}' are missing")
        self.file = open_parquet(file)
        self.classes: list[str] = json.loads(self.file.schema_arrow.metadata[b"classes"])
        table = self.file.read(columns=["seed", "clip_id", "split"])
        self.rows = np.flatnonzero(table["seed"].to_numpy() == seed)
        mine = table.take(pa.array(self.rows))
        self.clip_ids, self.splits = mine["clip_id"].combine_chunks(), mine["split"].combine_chunks()
        groups = [self.file.metadata.row_group(number).num_rows for number in range(self.file.num_row_groups)]
        self.starts = np.cumsum([0, *groups])

    def keep(self, clip_ids: pa.Array) -> None:
        """Keeps some of the clips, in the order given."""
        places = pc.index_in(clip_ids, self.clip_ids)
        self.rows, self.splits, self.clip_ids = self.rows[places.to_numpy()], self.splits.take(places), clip_ids

    def read(self, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Classes (clips, k) int32 and scores (clips, k) float32, the best first, of the clips at `places`."""
        rows = self.rows[places]
        owners = np.searchsorted(self.starts, rows, side="right") - 1
        parts, order = [], []
        for group in np.unique(owners):
            here = np.flatnonzero(owners == group)
            table = self.file.read_row_group(int(group), columns=["classes", "scores"])
            parts.append(table.take(pa.array(rows[here] - self.starts[group])))
            order.append(here)
        table = pa.concat_tables(parts).take(pa.array(np.argsort(np.concatenate(order))))
        return shards.stack(table, "classes"), shards.stack(table, "scores")


def open_members(uses: Mapping[str, Sequence[Path]], seed: int) -> tuple[list[Member], pa.Table]:
    """The members by the order of their roles, each with the clips of all, in the order of the first.

    The table tells the clips that only some of them predict: `clip_id`, `split`, and `why`.
    """
    members = [
        Member(role, folder_of_seed(files, seed) / "predictions.parquet", seed) for role, files in sorted(uses.items())
    ]
    first, left_out = members[0], []
    for member in members[1:]:
        if member.classes != first.classes:
            raise UserError(f"{member.path}: '{member.role}' has other classes than '{first.role}' ({first.path})")
    common = first.clip_ids
    for member in members[1:]:
        common = common.filter(pc.is_in(common, member.clip_ids))
    known = pa.concat_tables(pa.table({"clip_id": member.clip_ids, "split": member.splits}) for member in members)
    known = known.group_by(["clip_id", "split"], use_threads=False).aggregate([])
    for member in members:
        lacking = known.filter(pc.invert(pc.is_in(known["clip_id"], member.clip_ids)))
        known = known.filter(pc.is_in(known["clip_id"], member.clip_ids))
        left_out.append(
            lacking.append_column("why", pa.array([f"{member.role}: not there"] * len(lacking), pa.string()))
        )
        member.keep(common)
    return members, pa.concat_tables(left_out)


def side_by_side(members: Sequence[Member], places: np.ndarray) -> Iterator[tuple[np.ndarray, Lists]]:
    """The lists of all members for the clips at `places`, some clips at a time.

    More are read than handed out, because members may have trained on shards in which the clips stand otherwise.
    """
    for start in range(0, len(places), READ):
        block = places[start : start + READ]
        lists = [member.read(block) for member in members]
        for first in range(0, len(block), BATCH):
            part = slice(first, first + BATCH)
            yield block[part], [(numbers[part], scores[part]) for numbers, scores in lists]
