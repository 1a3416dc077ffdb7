"""Opens Parquet, JSON and CSV; a file that is not what it should be is a `UserError` that names it."""

import contextlib
import csv
import json
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.errors import UserError, did_you_mean


def open_parquet(path: Path) -> pq.ParquetFile:
    """A Parquet file, to be read bit by bit."""
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None


def parquet_schema(path: Path) -> pa.Schema:
    """The columns of a Parquet file, and its metadata."""
    with open_parquet(path) as file:
        return file.schema_arrow


def read_parquet(path: Path, columns: Sequence[str] = (), filters: pc.Expression | None = None) -> pa.Table:
    """A Parquet file, or some of its columns, which it must have, and the rows that `filters` lets pass."""
    need(path, columns, parquet_schema(path).names)
    try:
        return pq.read_table(path, columns=list(columns) or None, filters=filters)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from None


def read_json_lines(path: Path, keys: Set[str]) -> Iterator[dict[str, Any]]:
    """The objects with all `keys` in a file of JSON lines; what a killed writer left torn is passed over."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            entry = json.loads(line)
            if isinstance(entry, dict) and keys <= entry.keys():
                yield entry


class JsonLines:
    """A file of JSON lines that threads append to; a line that a killed job left unfinished ends where it is."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            self._write("\n")

    def add(self, entry: Mapping[str, Any]) -> None:
        """Appends an object."""
        self._write(json.dumps(entry) + "\n")

    def _write(self, text: str) -> None:
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(text)


def read_csv(
    path: Path, needed: Sequence[str] = (), hint: str = "", exact: bool = False, **dialect: Any
) -> Iterator[tuple[int, dict[str, str]]]:
    """The numbers and values of the lines below a CSV file's header, which must have the `needed` columns.

    With `exact` a line must be as long as the header; if not, what is missing is empty. `hint` says what to do about a
    missing column; `dialect` is for Python's `csv`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, restval=None if exact else "", strict=True, **dialect)
            need(path, needed, lines.fieldnames or [], hint)
            for line in lines:
                if exact and (None in line or None in line.values()):
                    raise UserError(
                        f"{path}, line {lines.line_num}: the row is longer or shorter than the header; quote a value "
                        "with commas"
                    )
                yield lines.line_num, line
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from None


def csv_columns(path: Path) -> list[str]:
    """The header of a CSV file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from None


def need(path: Path, needed: Sequence[str], found: Sequence[str], hint: str = "") -> None:
    """A file that lacks a column is a `UserError`."""
    for name in needed:
        if name not in found:
            raise UserError(f"{path}: the column '{name}' is missing{did_you_mean(name, found)}{hint}")
