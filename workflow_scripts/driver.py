"""The driver of a stage: maps the rows of a shard, and holds what went out well against what came in.

A job that loses too much fails with a sentence, and what it has made stays beside its output: the same command goes on.
"""

import contextlib
import itertools
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

import pyarrow as pa

from workflow_scripts import stamps
from workflow_scripts.errors import UserError
from workflow_scripts.jobs import StageJob
from workflow_scripts.parquet import open_parquet
from workflow_scripts.settings.losses import Losses
from workflow_scripts.shards import STATE, ClipError, Reason, Row, Status, atomic, map_rows, write_rows

log = logging.getLogger(__name__)

FEW = 20  # clips; what share of fewer is lost tells nothing
FETCHED_AGAIN = {Reason.MISSING, Reason.DAMAGED}


class Tally:
    """Counts what becomes of the clips that come to a stage well."""

    def __init__(self, losses: Losses) -> None:
        self._losses = losses
        self.came, self.lost, self._first = 0, Counter[Reason](), dict[Reason, Row]()

    def note(self, row: Row) -> None:
        """Counts the row that was made of a clip."""
        self.came += 1
        if row["reason"] is not None:
            reason = Reason(row["reason"])
            self.lost[reason] += 1
            self._first.setdefault(reason, row)

    def complaint(self, description: str) -> str:
        """What is lost beyond what is allowed, and what to do, in one sentence; empty if nothing is."""
        ours = Counter({reason: count for reason, count in self.lost.items() if reason.ours})
        if ours.total() > self._losses.ours * self.came:
            return self._told(ours, description, "ours", "of which their sources are not the cause")
        if self.came >= FEW and self.lost.total() > self._losses.all * self.came:
            return self._told(self.lost, description, "all", f"more than {self._losses.all:g} of them")
        return ""

    def _told(self, lost: Counter[Reason], description: str, key: str, kind: str) -> str:
        reason = lost.most_common(1)[0][0]
        first = self._first[reason]
        reasons = ", ".join(f"{reason} {count}" for reason, count in lost.most_common())
        refetch = "run with -R fetch_clips, which fetches these files again" if FETCHED_AGAIN & lost.keys() else ""
        return (
            f"{description}: {lost.total()} of {self.came} clips failed ({reasons}), {kind}; the first is "
            f"'{first['clip_id']}' ({first['detail']}); {refetch or 'mend the cause and run the same command again'}, "
            f"or accept the loss with `losses: {{{key}: …}}` in config.yaml"
        )


def map_clips(
    job: StageJob,
    rows: Iterable[Row],
    output: Path,
    columns: Sequence[pa.Field],
    function: Callable[[list[Row]], list[Row | ClipError]],
    description: str,
    total: int | None = None,
    batch: int = 1,
    carry: Sequence[pa.Field] = (),
    metadata: dict[str, str] | None = None,
    rows_a_group: int = 256,
) -> None:
    """Maps rows into a shard: `clip_id`, what is carried, the stage's `columns`, and the state columns (`map_rows`).

    Where more is lost than the job's `losses` allow, or `function` raises a `UserError`, the rows go into
    `unfinished-<shard>` instead, from which the next try of the same job takes what is well, and a `UserError` says
    why. An input that was changed since it was stamped, such as an emptied shard, is a `UserError` too.
    """
    for path in (Path(path) for paths in job.inputs().values() for path in paths):
        if stamps.place(path).exists() and stamps.read(path) is None:
            raise UserError(f"{path}: is not what the job that made it wrote; remove it and run again")
    schema = pa.schema([pa.field("clip_id", pa.string(), nullable=False), *carry, *columns, *STATE], metadata)
    unfinished = stamps.unfinished(output)
    tally, kept = Tally(job.losses), Kept(unfinished, job)
    names = [field.name for field in columns]
    stopped: UserError | None = None

    def attempt(missing: list[Row]) -> list[Row | ClipError]:
        nonlocal stopped
        if not stopped:
            try:
                return function(missing)
            except UserError as error:
                stopped = error
        return [ClipError(Status.FAILED, Reason.UNEXPECTED, "not tried") for _ in missing]

    def through(usable: list[Row]) -> list[Row | ClipError]:
        known = [kept.row(row["clip_id"], names) for row in usable]
        missing = [row for row, before in zip(usable, known, strict=True) if before is None]
        made = iter(attempt(missing) if missing else [])
        return [next(made) if before is None else before for before in known]

    def counted() -> Iterator[Row]:
        source, copy = itertools.tee(rows)
        made = map_rows(source, through, description, total, batch, [field.name for field in carry])
        for row, result in zip(copy, made, strict=True):
            if row["status"] == Status.OK:
                tally.note(result)
            yield result

    with kept, atomic(output) as temporary:
        write_rows(temporary, counted(), schema, rows_a_group)
        if complaint := str(stopped or tally.complaint(description)):
            temporary.replace(unfinished)
            stamps.stamp([unfinished], stamps.key(job))
            raise UserError(f"{complaint}; what is made already is kept in {unfinished}")
    kept.drop()
    if any(reason.ours for reason in tally.lost):  # accepted; whenever the job runs again, these are tried again
        shutil.copyfile(output, unfinished)
        stamps.stamp([unfinished], stamps.key(job))


class Kept:
    """What an earlier try of a job made, in the order in which it is asked for."""

    def __init__(self, path: Path, job: StageJob) -> None:
        self._path, self._group, self._rows = path, -1, list[Row]()
        self._places: dict[str, tuple[int, int]] = {}
        self._files = contextlib.ExitStack()
        if not (path.exists() and stamps.current([path], stamps.key(job))):
            return
        self._file = self._files.enter_context(open_parquet(path))
        for group in range(self._file.num_row_groups):
            rows = self._file.read_row_group(group, columns=["clip_id", "status"]).to_pylist()
            self._places |= {row["clip_id"]: (group, n) for n, row in enumerate(rows) if row["status"] == Status.OK}
        log.info("%s: %d clips are made already", path, len(self._places))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def row(self, clip_id: str, columns: Sequence[str]) -> Row | None:
        """The columns of a clip that was well, else None."""
        if clip_id not in self._places:
            return None
        group, place = self._places[clip_id]
        if group != self._group:
            self._group, self._rows = group, self._file.read_row_group(group, columns=list(columns)).to_pylist()
        return self._rows[place]

    def drop(self) -> None:
        """Removes it."""
        self._path.unlink(missing_ok=True)
        stamps.place(self._path).unlink(missing_ok=True)
