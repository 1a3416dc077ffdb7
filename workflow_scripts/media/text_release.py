"""Titles and keywords out of files that somebody collected and gave out, as YouTube-8M-Text did.

Titles: a JSON object {id: title}. Keywords: a JSON list of {"video_id": id, "keywords": [text, …]}, a JSON object
{id: [text, …]}, or lines `<id>\t(<keyword>,<keyword>,…)`. A text may hold several keywords between commas. Files are
streamed, and of millions of videos only the wanted ones are kept.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.errors import UserError
from workflow_scripts.files import LONGEST_LINE

log = logging.getLogger(__name__)

BLOCK = 1 << 20
SEPARATORS = re.compile(r"[\s,]*")
COLON = re.compile(r"\s*:\s*")
LINE = re.compile(r"([^\t]+)\t\s*[(\[]?(.*?)[)\]]?\s*")


PARTS = ("", "_dev", "_validation")  # a release may have a file for each part of the data
TITLES, KEYWORDS = (tuple(f"{kind}{part}" for part in PARTS) for kind in ("titles", "keywords"))
Entries = Iterator[tuple[str, Any] | str]  # id and text, or in words what stands there instead


class Release:
    """The titles and keywords of some videos, of files by role; `UserError` for a file of another shape.

    Entries without an id or a text are left out and counted, as the authors' own scripts leave them out.
    """

    def __init__(self, files: Mapping[str, Path], wanted: set[str]) -> None:
        unknown = files.keys() - {*TITLES, *KEYWORDS}
        if unknown or not files:
            raise UserError(f"released texts: expected 'titles' or 'keywords', found {min(unknown, default='none')}")
        self.titles: dict[str, str] = {}
        self.keywords: dict[str, list[str]] = {}
        for role, path in files.items():
            found, read = (self.titles, titles) if role in TITLES else (self.keywords, keywords)
            found.update((name, text) for name, text in usable(path, read(path)) if name in wanted)


def usable(path: Path, entries: Entries) -> Iterator[tuple[str, Any]]:
    """The entries that hold a text; a file in which none does, though there are some, is a `UserError`."""
    good, odd = 0, Counter[str]()
    for entry in entries:
        if isinstance(entry, str):
            odd[entry if not odd else "others"] += 1
        else:
            good += 1
            yield entry
    if odd and not good:
        raise UserError(f"{path}{next(iter(odd))}")
    if odd:
        log.warning("%s: %d of %d entries are left out%s", path, odd.total(), good + odd.total(), next(iter(odd)))


def titles(path: Path) -> Entries:
    """(video id, title) of every video in a file of titles; a title may be a list of words."""
    for member in members(path):
        name, title = member if isinstance(member, tuple) else (None, None)
        if is_texts(title):
            title = " ".join(title)
        if isinstance(name, str) and isinstance(title, str):
            yield name, title
        else:
            yield f": expected a JSON object {{id: title}}, found {member!r}"


def keywords(path: Path) -> Entries:
    """(video id, its keywords) of every video in a file of keywords."""
    if path.suffix != ".json":
        yield from keyword_lines(path)
        return
    for member in members(path):
        name, texts = member if isinstance(member, tuple) else of_entry(member)
        name = name[0] if is_texts(name) and name else name
        if isinstance(name, str) and is_texts(texts):
            yield name, split(",".join(texts))
        else:
            yield f': expected {{"video_id": id, "keywords": [text, …]}} or {{id: [text, …]}}, found {member!r}'


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def of_entry(entry: Any) -> tuple[Any, Any]:
    """Id and keywords of a member of a JSON list."""
    return (entry.get("video_id"), entry.get("keywords")) if isinstance(entry, dict) else (None, None)


def keyword_lines(path: Path) -> Entries:
    """(video id, its keywords) of every line of a text file."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), 1):
            if len(line) == LONGEST_LINE:
                raise UserError(f"{path}, line {number}: is longer than {LONGEST_LINE:,} characters; is it no text?")
            match = LINE.fullmatch(line)
            if match is not None:
                yield match[1], split(match[2])
            elif line.strip():
                yield f", line {number}: expected an id, a tab, and keywords between commas"


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
            except RecursionError:
                raise UserError(
                    f"{path}: not a file of texts (nested too deeply after {text[:start][-40:]!r})"
                ) from None
            except json.JSONDecodeError as error:
                if len(text) - start > LONGEST_LINE:
                    raise UserError(
                        f"{path}: no entry ends within {LONGEST_LINE:,} characters of another; "
                        f"it is no such JSON ({error.msg} after {text[:start][-40:]!r})"
                    ) from None
                block = file.read(max(BLOCK, len(text)))
                if not block:
                    raise UserError(f"{path}: not complete JSON ({error.msg} after {text[:start][-40:]!r})") from None
                text, start = text[start:] + block, 0
            else:
                yield found
                start = end
