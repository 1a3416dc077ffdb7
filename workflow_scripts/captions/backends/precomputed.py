"""Temporal captions out of a file that somebody made before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import Field

from workflow_scripts.captions.grammar import GrammarError, TemporalCaption
from workflow_scripts.captions.interface import CaptionBackend, Rewriter, Rewritten, Source
from workflow_scripts.captions.rewriting import by_rules
from workflow_scripts.captions.store import Store
from workflow_scripts.errors import UserError
from workflow_scripts.files import need, parse_json, read_lines
from workflow_scripts.parquet import parquet_schema
from workflow_scripts.settings.temporal import Ties
from workflow_scripts.shards import read


class Backend(CaptionBackend):
    """Looks captions up, letter by letter."""

    path: Path = Field(
        description="a Parquet or JSON-lines file with `caption`, `temporal` and perhaps `source`; captions that it "
        "lacks go to the rules"
    )

    def rewriter(self, ties: Ties, store: Store, assets: dict[str, Path], device: str) -> Rewriter:
        known = dict(entry(row, self.path) for row in rows(self.path) if row.get("temporal") is not None)
        return lambda captions: [known.get(caption) or by_rules(caption, ties) for caption in captions]


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet or JSON-lines file."""
    if path.suffix == ".parquet":
        need(path, ["caption", "temporal"], parquet_schema(path).names)
        yield from read(path)
        return
    for number, line in enumerate(read_lines(path), start=1):
        row = parse_json(line, f"{path}, line {number}") if line.strip() else {}
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: expected an object with `caption` and `temporal`")
        yield row


def entry(row: dict[str, Any], path: Path) -> tuple[str, Rewritten]:
    """A caption with its temporal caption; what is none is a `UserError` naming the caption."""
    caption: Any = row.get("caption")
    source: Any = row.get("source") or "precomputed"
    if not isinstance(caption, str):
        raise UserError(f"{path}: a row has `temporal` but no `caption`")
    if source not in get_args(Source):
        raise UserError(
            f"{path}: caption {caption!r}: `source` is {source!r}, not one of {', '.join(get_args(Source))}"
        )
    try:
        return caption, Rewritten(TemporalCaption.parse(row["temporal"]), source)
    except (GrammarError, AttributeError) as error:
        raise UserError(f"{path}: caption {caption!r}: `temporal` cannot be read: {error}") from None
