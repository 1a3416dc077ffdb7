"""Opens Parquet, JSON and CSV; a file that is not what it should be is a `UserError` that names it."""

import contextlib
import csv
import json
import string
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.errors import UserError, did_you_mean

BLANK = string.whitespace + "\u00a0\u200b\ufeff"  # with spaces that nobody sees, and marks of joined files


def open_parquet(path: Path, footer: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """A Parquet file, to be read bit by bit; its `footer` need not be read if it is known."""
    try:
        return pq.ParquetFile(path, metadata=footer)
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
        return json.loads(path.read_text(encoding=with_mark("utf-8")))
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
    path: Path,
    needed: Sequence[str] = (),
    hint: str = "",
    exact: bool = False,
    kept: Set[str] | None = None,
    **dialect: Any,
) -> Iterator[tuple[int, dict[str, str]]]:
    """The numbers and values of the lines below a CSV file's header, which must have the `needed` columns.

    With `exact` a line must be as long as the header; if not, what is missing is empty, and only what is longer is
    refused. `hint` says what to do about a missing column. Given `kept`, values lose the blanks around them, but in
    these columns; the rest as in `csv_rows`.
    """
    rows = csv_rows(path, strip=kept is not None and not kept, **dialect)
    header = [cell.strip(BLANK) for cell in next(rows, (0, []))[1]]
    need(path, needed, header, hint)
    for line, row in rows:
        if len(row) != len(header) and (exact or any(row[len(header) :])):
            raise UserError(
                f"{path}, line {line}: the row is longer or shorter than the header; quote a value with commas"
            )
        values = dict(zip(header, row + [""] * (len(header) - len(row)), strict=False))
        if kept:
            values = {name: value if name in kept else value.strip(BLANK) for name, value in values.items()}
        yield line, values


def csv_columns(path: Path, **dialect: Any) -> list[str]:
    """The header of a CSV file; `dialect` as in `csv_rows`."""
    return [cell.strip(BLANK) for cell in next(csv_rows(path, **dialect), (0, []))[1]]


def csv_rows(
    path: Path, strip: bool = False, encoding: str = "utf-8", **dialect: Any
) -> Iterator[tuple[int, list[str]]]:
    """The line numbers and cells of a CSV file, empty lines left out; `dialect` is for Python's `csv`.

    With `strip` cells lose the blanks around them, inside quotes too: an id with one is another id. A file that is no
    such table, or in another encoding, is a `UserError`.
    """
    try:
        with path.open(encoding=with_mark(encoding), newline="") as file:
            reader = csv.reader(file, strict=True, skipinitialspace=strip, **dialect)
            for row in filter(None, reader):
                yield reader.line_num, [cell.strip(BLANK) for cell in row] if strip else row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV in {encoding.upper()} ({error})") from None


def read_lines(path: Path) -> list[str]:
    """The lines of a text file."""
    try:
        return path.read_text(encoding=with_mark("utf-8")).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text in UTF-8 ({error})") from None


def with_mark(encoding: str) -> str:
    """An encoding that takes a mark of the byte order for no part of the text."""
    return "utf-8-sig" if encoding == "utf-8" else encoding


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder but hidden ones, by name; links are followed, but for those that lead back up."""

    def below(place: Path, above: frozenset[Path]) -> Iterator[Path]:
        true = place.resolve()
        if true in above:
            return
        try:
            entries = sorted(place.iterdir())
        except OSError as error:
            raise UserError(f"{place}: cannot be read ({error.strerror})") from None
        for path in (entry for entry in entries if not entry.name.startswith(".")):
            if path.is_dir():
                yield from below(path, above | {true})
            elif path.is_file():
                yield path

    yield from below(folder, frozenset())


def need(path: Path, needed: Sequence[str], found: Sequence[str], hint: str = "") -> None:
    """A file that lacks a column is a `UserError`."""
    for name in needed:
        if name not in found:
            raise UserError(f"{path}: the column '{name}' is missing{did_you_mean(name, found)}{hint}")
