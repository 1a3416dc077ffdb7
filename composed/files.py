"""Writes text and CSV files; one that is there is whole."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from workflow_scripts.shards import atomic


def write_text(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, rows: Iterable[Sequence[object]], delimiter: str = ",") -> None:
    """Writes a row a line, with cells quoted where they must be."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)
