"""Joins the CSV files of several papers into one: `results/table3.csv` from every paper's `table3.csv`."""

import logging
from pathlib import Path

from workflow_scripts.errors import UserError
from workflow_scripts.files import csv_columns, read_csv
from workflow_scripts.tables.cells import write_csv
from workflow_scripts.tables.plan import JoinPapers

log = logging.getLogger(__name__)


def join_papers(job: JoinPapers, output: Path) -> None:
    """Writes the lines of all files, which must have the same columns."""
    header = csv_columns(job.tables[0])
    for path in job.tables:
        if csv_columns(path) != header:
            raise UserError(f"{path}: its columns are not those of {job.tables[0]}")
    lines = [line for path in job.tables for _, line in read_csv(path)]
    write_csv(output, header, lines)
    log.info("%d lines in %s", len(lines), output)
