"""Turns a corpus's own annotation files into its manifest: one row a clip."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.settings.base import from_argument, plugin
from workflow_scripts.shards import STATE, Reason, Row, Status, shard_of, write

log = logging.getLogger(__name__)

EVENT = pa.struct([("onset", pa.float64()), ("offset", pa.float64()), ("label", pa.string())])
MANIFEST = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("link", pa.string(), nullable=False),
        pa.field("start", pa.float64(), nullable=False),
        pa.field("end", pa.float64()),
        pa.field("split", pa.string(), nullable=False),
        pa.field("labels", pa.list_(pa.string())),
        pa.field("events", pa.list_(EVENT)),
        *STATE,
    ]
)


def manifest(clips: Iterable[dict[str, Any]], link: str | None, limit: int | None) -> Iterator[Row]:
    """The manifest's rows; `link` is a template with `{video_id}`, or None where nothing is to be fetched.

    With a limit, the clips of a split beyond it stay as `skipped` rows. Which clips stay within the limit depends on
    their ids alone, so that every run has the same ones.
    """
    rows = [
        {key: value for key, value in clip.items() if key != "video_id"}
        | {"link": (link or "").format(video_id=clip["video_id"]), "status": Status.OK}
        for clip in clips
    ]
    doubled = [clip_id for clip_id, count in Counter(row["clip_id"] for row in rows).items() if count > 1]
    if doubled:
        raise UserError(f"the clip '{doubled[0]}' stands in two splits or twice in one; clip ids must be unique")
    by_split: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_split[row["split"]].append(row["clip_id"])
    kept: set[str] = set()
    for ids in by_split.values():
        kept.update(sorted(ids, key=lambda name: shard_of(name, 1 << 62))[:limit])
    for row in rows:
        if row["clip_id"] not in kept:
            row |= {"status": Status.SKIPPED, "reason": Reason.LIMIT}
        yield row


def main(
    reader: Annotated[str, typer.Option(help="File in corpora/readers that understands the annotations.")],
    annotation: Annotated[list[str], typer.Option(help="An annotation file, name=path; repeated.")],
    definition: Annotated[str, typer.Option(help="JSON with `link` and `limit`.")],
    output: Annotated[Path, typer.Option(help="The manifest to write.")],
) -> None:
    """Read annotation files into a manifest."""
    files = {name: Path(path) for name, _, path in (item.partition("=") for item in annotation)}
    understood = plugin("workflow_scripts.corpora.readers", reader, "--reader").Reader()
    for name in understood.files.keys() - understood.optional:
        if not files.get(name, Path()).is_file():
            raise UserError(f"--annotation {name}: {files.get(name, 'no file')} cannot be read")
    settings = from_argument(definition)
    rows = list(manifest(understood.read(files), settings["link"], settings.get("limit")))
    write(output, rows, MANIFEST)
    for split, count in Counter(row["split"] for row in rows if row["status"] == Status.OK).items():
        log.info("%s: %d clips", split, count)


if __name__ == "__main__":
    run(lambda: typer.run(main))
