"""Titles and keywords out of files that somebody collected and gave out, as YouTube-8M-Text did.

Titles: a JSON object {id: title}. Keywords: a JSON list of {"video_id": id, "keywords": [text, …]}, a JSON object
{id: [text, …]}, or lines `<id>\t(<keyword>,<keyword>,…)`. A text may hold several keywords between commas. Files are
streamed, and of millions of videos only the wanted ones are kept.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.errors import UserError

BLOCK = 1 << 20
SEPARATORS = re.compile(r"[\s,]*")
COLON = re.compile(r"\s*:\s*")
LINE = re.compile(r"([^\t]+)\t\s*[(\[]?(.*?)[)\]]?\s*")


class Release:
    """The titles and keywords of some videos; `UserError` for a file of another shape."""

    def __init__(self, files: Mapping[str, Path], wanted: set[str]) -> None:
        unknown = files.keys() - {"titles", "keywords"}
        if unknown or not files:
            raise UserError(f"released texts: expected 'titles' or 'keywords', found {min(unknown, default='none')}")
        self.titles = {name: title for name, title in titles(files.get("titles")) if name in wanted}
        self.keywords = {name: words for name, words in keywords(files.get("keywords")) if name in wanted}


def titles(path: Path | None) -> Iterator[tuple[str, str]]:
    """(video id, title) of every video in a file of titles."""
    for member in members(path) if path else ():
        if not isinstance(member, tuple) or not isinstance(member[1], str):
            raise UserError(f"{path}: expected a JSON object {{id: title}}, found {member!r}")
        yield member


def keywords(path: Path | None) -> Iterator[tuple[str, list[str]]]:
    """(video id, its keywords) of every video in a file of keywords."""
    if path is None:
        return
    if path.suffix != ".json":
        yield from keyword_lines(path)
        return
    for member in members(path):
        name, texts = member if isinstance(member, tuple) else of_entry(member)
        if not isinstance(name, str) or not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
            raise UserError(
                f'{path}: expected {{"video_id": id, "keywords": [text, …]}} or {{id: [text, …]}}, found {member!r}'
            )
        yield name, split(",".join(texts))


def of_entry(entry: Any) -> tuple[Any, Any]:
    """Id and keywords of a member of a JSON list."""
    return (entry.get("video_id"), entry.get("keywords")) if isinstance(entry, dict) else (None, None)


def keyword_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(video id, its keywords) of every line of a text file."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            match = LINE.fullmatch(line)
            if match is None and line.strip():
                raise UserError(f"{path}, line {number}: expected an id, a tab, and keywords between commas")
            if match is not None:
                yield match[1], split(match[2])


def split(text: str) -> list[str]:
    """The keywords between the commas of a text."""
    return [part.strip() for part in text.split(",") if part.strip()]


def members(path: Path) -> Iterator[Any]:
    """The members of a JSON list, or the (key, value) pairs of a JSON object, held one at a time."""
    decoder = json.JSONDecoder()

    def member(text: str, start: int) -> tuple[Any, int]:
        key, end = decoder.raw_decode(text, start)
        if not in_object:
            return key, end
        colon = COLON.match(text, end)
        if colon is None:
            raise json.JSONDecodeError("no value", text, end)
        value, end = decoder.raw_decode(text, colon.end())
        return (key, value), end

    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(BLOCK).lstrip("\ufeff \t\r\n")
        in_object, closing = text[:1] == "{", {"{": "}", "[": "]"}.get(text[:1])
        if closing is None:
            raise UserError(f"{path}: expected a JSON object or list")
        start = 1
        while True:
            separators = SEPARATORS.match(text, start)
            start = separators.end() if separators else start
            if text[start : start + 1] == closing:
                return
            try:
                found, end = member(text, start)
            except json.JSONDecodeError as error:
                block = file.read(max(BLOCK, len(text)))
                if not block:
                    raise UserError(f"{path}: not complete JSON ({error.msg} after {text[:start][-40:]!r})") from None
                text, start = text[start:] + block, 0
            else:
                yield found
                start = end
