"""Opens text, JSON and CSV; a file that is not what it should be is a `UserError` that names it."""

import contextlib
import csv
import json
import re
import string
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from workflow_scripts.errors import UserError, did_you_mean, room_in

ANEW = "delete it and run the same command again, which makes it anew"
LONGEST_TEXT, LONGEST_LINE, LONGEST_ID = 1 << 28, 1 << 24, 200  # characters of a file read at once, a line, a name
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Blanks of all alphabets, and signs that nobody sees: marks of joined files, of directions, of places to break a word.
BLANK = (
    string.whitespace
    + "\x85\xa0\xad\u1680\u180e\u3000\ufeff"
    + "".join(map(chr, [*range(0x2000, 0x2010), *range(0x2028, 0x2030), *range(0x205F, 0x2070)]))
)


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return parse_json(read_text(path, "JSON"), str(path), f"; if a run made it, {ANEW}")


def parse_json(text: str | bytes, where: str, hint: str = "") -> Any:
    """The content of a text in JSON; `where` is its file, its line or its option, `hint` what to do if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        said = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"{where}: cannot be read as JSON ({said}){hint}") from None


def read_json_lines(path: Path, keys: Set[str]) -> Iterator[dict[str, Any]]:
    """The objects with all `keys` in a file of JSON lines; what a killed writer left torn is passed over."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
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
        with self._lock, room_in(self._path.parent), self._path.open("a", encoding="utf-8") as file:
            file.write(text)


def read_csv(
    path: Path,
    needed: Sequence[str] = (),
    hint: str = "",
    exact: bool = False,
    kept: Set[str] | None = None,
    ids: Set[str] = frozenset(),
    **dialect: Any,
) -> Iterator[tuple[int, dict[str, str]]]:
    """The numbers and values of the lines below a CSV file's header, which must have the `needed` columns.

    With `exact` a line must be as long as the header; if not, what is missing is empty, and only what is longer is
    refused. `hint` says what to do about a missing column. Given `kept`, values lose the blanks around them, but in
    these columns, and no other may span lines. The columns `ids` hold names, see `proper_id`. The rest as in
    `csv_rows`.
    """
    rows = csv_rows(path, strip=kept is not None and not kept, **dialect)
    header = [cell.strip(BLANK) for cell in next(rows, (0, []))[1]]
    need(path, needed, header, hint)
    for name in header:
        if name and header.count(name) > 1:
            raise UserError(f"{path}: the column '{name}' stands twice; keep one")
    for line, row in rows:
        if len(row) != len(header) and (exact or any(row[len(header) :])):
            raise UserError(
                f"{path}, line {line}: the row is longer or shorter than the header; quote a value with commas"
            )
        values = dict(zip(header, row + [""] * (len(header) - len(row)), strict=False))
        if kept is not None:
            values = {name: value if name in kept else value.strip(BLANK) for name, value in values.items()}
            for name in values.keys() - kept:
                refuse_lines(values[name], name, f"{path}, line {line}")
        for name in ids & values.keys():
            proper_id(values[name], name, f"{path}, line {line}")
        yield line, values


def read_benchmark(path: Path) -> list[dict[str, float]]:
    """The runs in one of Snakemake's benchmark files; what was too short to be seen (`-`, `NA`) is 0.

    Snakemake does not sync these files: of one that a power cut has torn, the whole lines count.
    """

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return 0.0

    lines = path.read_text(errors="replace").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n") and "\0" not in line]
    keys = ("s", "cpu_time", "max_rss")
    return [{key: number(row.get(key) or "") for key in keys} for row in csv.DictReader(whole, delimiter="\t")]


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
    reader = csv.reader(text_lines(path, "CSV", encoding), strict=True, skipinitialspace=strip, **dialect)
    begun = 1
    try:
        for row in reader:
            if row:
                yield reader.line_num, [cell.strip(BLANK) for cell in row] if strip else row
            begun = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}, line {begun}: cannot be read as CSV ({error}); is a quote opened there that is not closed?"
        ) from None


def refuse_lines(value: str, column: str, where: str) -> None:
    """A cell that spans lines is a `UserError`: mostly a quote that was not closed has swallowed them."""
    if "\n" in value or "\r" in value:
        raise UserError(f"{where}: '{column}' spans lines; is a quote before it not closed?")


def proper_id(value: str, column: str, where: str) -> None:
    """A name that spans lines, or is as long as none is, is a `UserError`; an empty one passes."""
    refuse_lines(value, column, where)
    if len(value.encode()) > LONGEST_ID:
        raise UserError(f"{where}: '{column}' is '{value[:20]}…', {len(value):,} characters long; no name is so long")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file."""
    return [line.rstrip("\r\n") for line in text_lines(path, "text")]


def text_lines(path: Path, what: str, encoding: str = "utf-8") -> Iterator[str]:
    """The lines of a text file with their ends, held one at a time.

    Another encoding, a control character or an endless line is a `UserError` that names the line; `what` it should be.
    """
    number = 0
    with readable(path, what, encoding), path.open(encoding=with_mark(encoding), newline="") as file:
        while line := file.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE:
                raise UserError(f"{path}, line {number}: is longer than {LONGEST_LINE:,} characters, so no {what}")
            refuse_control(line, f"{path}, line {number}")
            yield line


def read_text(path: Path, what: str) -> str:
    """A text file as a whole; `what` it should be. What is refused: as in `text_lines`."""
    with readable(path, what), path.open(encoding=with_mark("utf-8"), newline="") as file:
        text = file.read(LONGEST_TEXT + 1)
    if len(text) > LONGEST_TEXT:
        raise UserError(f"{path}: is longer than {LONGEST_TEXT:,} characters, which no {what} is here")
    if found := CONTROL.search(text):
        refuse_control(found[0], f"{path}, line {text.count(chr(10), 0, found.start()) + 1}")
    return text


@contextlib.contextmanager
def readable(path: Path, what: str, encoding: str = "utf-8") -> Iterator[None]:
    """Inside, a file that cannot be opened or decoded is a `UserError`."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be read as {what} ({error.strerror})") from None
    except UnicodeDecodeError as error:
        place = undecodable(path, encoding)
        raise UserError(
            f"{path}: cannot be read as {what} in {encoding.upper()} ({error.reason}{place}); save it in that encoding"
        ) from None


def undecodable(path: Path, encoding: str) -> str:
    """The first line that is in another encoding, in words; nothing where none is."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError:
                return f", line {number}"
    return ""


def refuse_control(text: str, where: str) -> None:
    """A control character is a `UserError`."""
    if found := CONTROL.search(text):
        hint = "is it UTF-16, or no text? Save it as UTF-8" if found[0] == "\0" else "remove it"
        raise UserError(f"{where}: holds the control character U+{ord(found[0]):04X}; {hint}")


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
            raise UserError(f"{path}: the column '{name}' is missing{parted(found) or did_you_mean(name, found)}{hint}")


def parted(header: Sequence[str]) -> str:
    """By what the cells of a header are parted that was read as one cell, in words; empty if it is none such."""
    named = {";": "semicolons", "\t": "tabs", ",": "commas"}
    other = next((sign for sign in named if len(header) == 1 and sign in header[0]), None)
    return f"; its cells are parted by {named[other]}, save it as it was published" if other else ""
