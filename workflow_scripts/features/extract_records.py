"""Features of one shard of a corpus of records: precomputed features out of record files, or words of texts.

Every row carries its `split` and its `labels` (class numbers), and the schema's metadata the names of the `classes`, so
that training can stream the shards without looking anything up. `records` there is the folder of the source, relative
to the shard's.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.corpora.interface import RecordReader, unfit
from workflow_scripts.driver import map_clips
from workflow_scripts.features.interface import RecordExtractor
from workflow_scripts.features.plan import ExtractRecords
from workflow_scripts.parquet import parquet_schema, read_parquet
from workflow_scripts.shards import STATE, ClipError, Reason, Row, Status, read, rows_in, write

LEADING = [
    pa.field("clip_id", pa.string(), nullable=False),
    pa.field("split", pa.string(), nullable=False),
    pa.field("labels", pa.list_(pa.int32())),
]


def kept_ids(manifest: Path) -> set[str] | None:
    """The clips within the limit on their number, or None where there is no limit."""
    if not (parquet_schema(manifest).metadata or {}).get(b"limit"):
        return None
    kept = read_parquet(manifest, ["clip_id"], pc.field("status") == Status.OK.value)
    return set(kept["clip_id"].to_pylist())


def doubled_ids(manifest: Path) -> dict[str, str]:
    """Of each id that several records have, the link of the record file whose record was taken."""
    found: dict[str, str] = json.loads((parquet_schema(manifest).metadata or {}).get(b"doubled", "{}"))
    return found


def record_rows(
    extractor: RecordExtractor, reader: RecordReader, ledger: Path, manifest: Path, classes: int
) -> Iterator[Row]:
    """The rows of all record files of a ledger that could be had, in its order; of records with one id the first."""
    kept, doubled = kept_ids(manifest), doubled_ids(manifest)
    for file in read(ledger):
        if file["status"] != Status.OK:
            continue
        link, seen = f"{file['part']}/{file['name']}", set[str]()
        for row in extractor.read(ledger.parent / file["path"]):
            clip_id, labels = row["clip_id"], row["labels"]
            if clip_id in doubled:
                if doubled[clip_id] != link or clip_id in seen:
                    continue
                seen.add(clip_id)
            state = {"split": reader.split(file["part"], clip_id), "path": file["path"], "status": Status.OK}
            if fault := unfit(labels, classes):
                why = {"status": fault.status, "reason": fault.reason, "detail": fault.detail}
                yield {"clip_id": clip_id, "labels": [n for n in labels if 0 <= n < classes], **state, **why}
            elif kept is None or clip_id in kept:
                yield state | row
            else:
                skipped = {"status": Status.SKIPPED, "reason": Reason.LIMIT}
                yield {"clip_id": clip_id, "labels": labels, **state, **skipped}


def words_of(function: Callable[[Row], Row]) -> Callable[[list[Row]], list[Row | ClipError]]:
    """A text extractor's function for a batch of rows: each gets the columns or the reason for having none."""

    def one(row: Row) -> Row | ClipError:
        try:
            return function(row)
        except ClipError as error:
            return error

    return lambda rows: [one(row) for row in rows]


def extract_records(job: ExtractRecords, output: Path) -> None:
    """Extracts features from one shard of records or texts into another."""
    pa.set_cpu_count(job.threads)
    settings, classes = job.settings, job.reading.classes(job.files)
    about = {"classes": json.dumps(classes), "records": os.path.relpath(job.source.parent, output.parent)}
    if isinstance(settings, RecordExtractor):
        if doubled := doubled_ids(job.manifest):
            about["doubled"] = str(len(doubled))
        rows = record_rows(settings, job.reading, job.source, job.manifest, len(classes))
        schema = pa.schema([*LEADING, *settings.columns(), *STATE], metadata=about)
        write(output, rows, schema, rows_a_group=settings.rows_a_group)
        return
    texts = ({**row, "labels": [int(label) for label in row["labels"]]} for row in read(job.source))
    function = words_of(settings.load(job.assets, classes))
    how: dict[str, Any] = {"batch": 256, "carry": LEADING[1:], "metadata": about, "rows_a_group": settings.rows_a_group}
    map_clips(job, texts, output, settings.columns(), function, "words", rows_in(job.source), **how)
