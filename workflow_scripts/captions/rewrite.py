"""Rewrites the captions of one shard of a manifest as temporal captions: one row a caption."""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from workflow_scripts.captions.interface import Rewriter
from workflow_scripts.captions.plan import RewriteCaptions
from workflow_scripts.captions.rewriting import own_sources
from workflow_scripts.captions.settings import Temporal
from workflow_scripts.captions.store import Store
from workflow_scripts.devices import prepared
from workflow_scripts.driver import Tally
from workflow_scripts.errors import UserError
from workflow_scripts.shards import STATE, ClipError, Reason, Row, Status, map_rows, read, shard_of, write

log = logging.getLogger(__name__)

SCHEMA = pa.schema(
    [
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("caption_index", pa.int32()),  # its place among the captions of its clip
        pa.field("caption", pa.string()),
        pa.field("temporal", pa.string()),
        pa.field("source", pa.string()),  # llm, retry, precomputed, rules, unasked or fallback
        pa.field("events", pa.int32()),
        pa.field("orders", pa.int32()),  # distinct ones of the foreground
        *STATE,
    ]
)
CHUNK = 256


def captions_of(manifest: Path, splits: list[str], shard: int, shards: int) -> Iterator[Row]:
    """One row a caption of the splits; a clip that cannot be used, or has no caption, has one row that says so."""
    for clip in read(manifest):
        if clip["split"] not in splits or shard_of(clip["clip_id"], shards) != shard:
            continue
        if "captions" not in clip:
            raise UserError(f"{manifest}: there is no column `captions`; temporal captions are made of captions")
        base = {name: clip[name] for name in ("clip_id", "status", "reason", "detail")}
        if clip["status"] == Status.OK and not clip["captions"]:
            base |= {"status": Status.FAILED, "reason": Reason.NO_TEXT, "detail": "the manifest has no caption of it"}
        if base["status"] != Status.OK:
            yield base
            continue
        for index, caption in enumerate(clip["captions"]):
            yield {**base, "caption_index": index, "caption": caption}


def rewritten_rows(rows: list[Row], rewriter: Rewriter) -> Iterator[Row]:
    """The rows with their temporal captions, or with what befell them."""

    def columns(batch: list[Row]) -> list[Row | ClipError]:
        results = rewriter([row["caption"] for row in batch])
        return [
            result
            if isinstance(result, ClipError)
            else {
                "temporal": str(result.temporal),
                "source": result.source,
                "events": len(result.temporal.items),
                "orders": result.temporal.orders,
            }
            for result in results
        ]

    return map_rows(rows, columns, "captions", len(rows), CHUNK, carry=["caption_index", "caption"])


def report(rows: list[Row], settings: Temporal) -> None:
    """Logs who made the captions; too many fallbacks are a `UserError`."""
    sources = Counter(row["source"] for row in rows if row["status"] == Status.OK)
    total = sources.total()
    if not total:
        return
    log.info("%s", ", ".join(f"{name}: {count} ({count / total:.1%})" for name, count in sources.most_common()))
    asked = total - sources.pop("unasked", 0)
    failed = sum(count for name, count in sources.items() if name not in own_sources(settings.backend.kind))
    if settings.fallback_limit is not None and failed > settings.fallback_limit * asked:
        raise UserError(
            f"backend '{settings.backend.kind}' has no valid answer to {failed / asked:.1%} of {asked} captions, more "
            f"than fallback_limit {settings.fallback_limit:.1%}; take a better model, or raise the limit (null: none)"
        )


def rewrite_captions(job: RewriteCaptions, output: Path) -> None:
    """Rewrites captions; a killed run continues with the answers that the store holds.

    The schema's metadata say which `backend` the settings name, and their `ties`.
    """
    settings = job.temporal
    rows = list(captions_of(job.manifest, settings.splits, job.shard, job.shards))
    if not rows:
        log.warning("%s: no clip of %s in this shard", job.manifest, ", ".join(settings.splits))
    name = hashlib.sha256(str(output.absolute()).encode()).hexdigest()[:16]  # whatever else writes to the store now
    answers = Store(job.answers, name)
    device = prepared(job.device, job.threads, gpu_mb=job.gpu_mb) if settings.backend.uses_gpu else "cpu"
    rewriter = settings.backend.rewriter(settings.ties, answers, {**job.assets, **job.models}, device)
    # First captions of all clips come before second ones: where not all are asked for, it is not all of a few clips.
    turns = sorted(range(len(rows)), key=lambda place: rows[place].get("caption_index", 0))
    made = dict(zip(turns, rewritten_rows([rows[place] for place in turns], rewriter), strict=True))
    done = [made[place] for place in range(len(rows))]
    tally = Tally(job.losses)
    for row, before in zip(done, rows, strict=True):
        if before["status"] == Status.OK:
            tally.note(row)
    if complaint := tally.complaint("captions"):
        raise UserError(f"{complaint}; the answers are kept in {job.answers}")
    report(done, settings)
    write(output, done, SCHEMA.with_metadata({"backend": settings.backend.kind, "ties": settings.ties}))
