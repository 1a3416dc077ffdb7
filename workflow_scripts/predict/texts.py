"""Titles and keywords of videos, from files of one's own: tables, or files as released texts have them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflow_scripts.errors import UserError
from workflow_scripts.files import parse_json, read_csv, text_lines
from workflow_scripts.media.text_release import is_texts, keywords, members, split, titles
from workflow_scripts.shards import Row

TABLES = (".csv", ".tsv", ".jsonl")
TEXTS = frozenset({"title", "keywords"})  # columns that are kept to the letter, and may span lines
SUFFIXES = (*TABLES, ".json")


def read_texts(name: str, path: Path) -> Iterator[Row]:
    """`id`, and `title` or `keywords` or both, of every video in a file.

    A table has the columns `id`, `title` and `keywords`, these between commas; lines of JSON have the same keys, and
    keywords may be a list. A `.json` file holds titles or keywords in the forms of `media/text_release.py`.
    """
    if path.suffix in TABLES:
        yield from (row_of(f"{name}, entry {number}", row) for number, row in enumerate(entries(path), 1))
        return
    first = next(members(path), None)
    entitled = isinstance(first, tuple) and isinstance(first[1], str)
    for entry in titles(path) if entitled else keywords(path):
        if not isinstance(entry, str):
            yield {"id": entry[0], ("title" if entitled else "keywords"): entry[1]}


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a table as they stand there."""
    if path.suffix == ".jsonl":
        for number, line in enumerate(text_lines(path, "texts of videos"), 1):
            if line.strip():
                entry = parse_json(line, f"{path}, line {number}")
                yield entry if isinstance(entry, dict) else {}
    else:
        for _, row in read_csv(path, ["id"], kept=TEXTS, delimiter="\t" if path.suffix == ".tsv" else ","):
            yield dict(row)


def row_of(where: str, entry: dict[str, Any]) -> Row:
    """An entry of a table, checked."""
    found: Row = {"id": entry.get("id"), "title": entry.get("title") or "", "keywords": entry.get("keywords") or []}
    if isinstance(found["keywords"], str):
        found["keywords"] = split(found["keywords"])
    if not (isinstance(found["id"], str) and found["id"] and isinstance(found["title"], str)):
        raise UserError(f"{where}: expected the columns id, title and keywords, with an id and texts in them")
    if not is_texts(found["keywords"]):
        raise UserError(f"{where}: expected 'keywords' as a text with commas, or a list of texts")
    return found
