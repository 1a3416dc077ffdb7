"""Joins the CSV files of several papers into one: `results/table3.csv` from every paper's `table3.csv`."""

import logging
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.errors import UserError
from workflow_scripts.files import csv_columns, read_csv
from workflow_scripts.tables.cells import write_csv
from workflow_scripts.tables.plan import JoinPapers, OpenFrontDoor

log = logging.getLogger(__name__)


def join_papers(job: JoinPapers, output: Path) -> None:
    """Writes the lines of the files of all papers."""
    join(job.tables, output)


def open_front_door(job: OpenFrontDoor, output: Path, claims: Path) -> None:
    """Writes the lines of a table of all papers, and those of the claims that rest on it."""
    join(job.tables, output)
    join(job.claims, claims)


def join(files: Sequence[Path], output: Path) -> None:
    """Writes the lines of all files, which must have the same columns."""
    header = csv_columns(files[0])
    for path in files:
        if csv_columns(path) != header:
            raise UserError(f"{path}: its columns are not those of {files[0]}")
    lines = [line for path in files for _, line in read_csv(path)]
    write_csv(output, header, lines)
    log.info("%d lines in %s", len(lines), output)
