"""Joins the CSV files of several papers into one: `results/table3.csv` from every paper's `table3.csv`."""

import csv
import logging
from pathlib import Path

from workflow_scripts.errors import UserError
from workflow_scripts.tables.cells import write_csv
from workflow_scripts.tables.plan import JoinPapers

log = logging.getLogger(__name__)


def join_papers(job: JoinPapers, output: Path) -> None:
    """Writes the lines of all files, which must have the same columns."""
    header: list[str] = []
    lines: list[dict[str, str]] = []
    for path in job.tables:
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                reader = csv.DictReader(stream)
                lines += list(reader)
                found = list(reader.fieldnames or [])
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        if found != (header := header or found):
            raise UserError(f"{path}: its columns are not those of {job.tables[0]}")
    write_csv(output, header, lines)
    log.info("%d lines in %s", len(lines), output)
