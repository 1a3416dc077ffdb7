"""Reads all fetched files again, and holds them to what the ledgers say: for disks that forget without a sign."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.formats import tfrecord
from workflow_scripts.media.stored import check
from workflow_scripts.parquet import parquet_schema
from workflow_scripts.progress import progress
from workflow_scripts.shards import ClipError, Reason, Row, Status, read

log = logging.getLogger(__name__)


RULES = {"sha256": "fetch_clips", "md5": "fetch_records"}  # by the checksum that their ledgers have


def ledgers(folder: Path) -> Iterator[tuple[Path, str]]:
    """The ledgers of files below a folder, and their kind of checksum."""
    for path in sorted(folder.rglob("*.parquet")):
        columns = set() if path.name.startswith("unfinished-") else set(parquet_schema(path).names)
        for algorithm in RULES:
            if {"path", "bytes", algorithm} <= columns:
                yield path, algorithm


def fault(ledger: Path, row: Row, algorithm: str) -> str:
    """What is the matter with the file of a row, which is then marked to be fetched again; empty if nothing is."""
    path = (ledger.parent.parent if algorithm == "sha256" else ledger.parent) / row["path"]
    try:
        check(path, row, algorithm)
        if row[algorithm] is None:  # own record files, which bear checksums in themselves
            for _ in tfrecord.read(path):
                pass
    except ClipError as error:
        if path.is_symlink():
            return f"{error.detail}: an own file, {path.readlink()}, which is to be put right"
        if error.reason == Reason.DAMAGED:
            path.touch()  # another date: fetching looks at it anew
        return error.detail
    except UserError as error:
        return str(error)
    return ""


def doubled(ledger: Path, other: Path) -> str:
    """What is the matter with a ledger that tells of what another one tells of too."""
    return f"{ledger}: it has rows of {other}, so one of them is a copy, and what it told of is lost; remove both"


def main(
    folder: Annotated[Path, typer.Argument(help="a folder with ledgers below it, such as work/full/media")],
) -> None:
    """Reads all fetched files again; those that are missing or damaged are told, and fetched again by the next run."""
    rules: set[str] = set()
    files, faults = 0, list[str]()
    first: dict[tuple[Path, str], Path] = {}  # the ledger in which a clip or record file of a folder stands
    for ledger, algorithm in ledgers(folder):
        for row in progress(read(ledger), str(ledger), unit="file"):
            other = first.setdefault((ledger.parent, row["clip_id" if algorithm == "sha256" else "name"]), ledger)
            if row["status"] != Status.OK and other == ledger:
                continue
            files += 1
            told = doubled(ledger, other) if other != ledger else fault(ledger, row, algorithm)
            if told and told not in faults:
                log.error("%s", told)
                faults.append(told)
                rules.add(RULES[algorithm])
    if not files:
        raise UserError(f"{folder}: there are no ledgers of files below it, such as in work/<scale>/media")
    if faults:
        raise UserError(
            f"{folder}: {len(faults)} of {files} files are missing or damaged (the first: {faults[0]}); the run with "
            f"-R {' '.join(sorted(rules))} fetches these again, and no others"
        )
    print(f"{folder}: {files} files, all as they were fetched")


if __name__ == "__main__":
    run(lambda: typer.run(main))
