"""Scores the predictions of one experiment: `scores.parquet` for people, records and replicates for what follows.

Predictions and the manifest are divided by clip into parts that fit into memory, so that any number of clips does.
"""

import contextlib
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.errors import UserError
from workflow_scripts.parquet import open_parquet, parquet_schema, read_parquet
from workflow_scripts.progress import progress
from workflow_scripts.scores.counts import Counted, System
from workflow_scripts.scores.plan import Score
from workflow_scripts.scores.replicates import resamples, write_replicates
from workflow_scripts.shards import Row, array_field, atomic, parquet_writer, shard_of, unstack, write

SCORES = pa.schema([("seed", pa.int32()), ("split", pa.string()), ("metric", pa.string()), ("value", pa.float64())])
PART = 1 << 27  # bytes of predictions that are read at a time
CHUNK = 1 << 24  # bytes of predictions, of one system, that are scored at a time


def score(job: Score, scores_file: Path, counts_file: Path, replicates_file: Path) -> None:
    """Scores every seed on every predicted split, as it is and on resampled clips."""
    systems = systems_of(job.predictions)
    splits = list(dict.fromkeys(split for _, split in systems))
    with atomic(counts_file) as temporary:
        write_counts(job, systems, temporary)
    write_replicates(Counted.open(counts_file), resamples(job.manifest, splits, job.replicates), replicates_file)
    write(scores_file, read_parquet(replicates_file, SCORES.names).to_pylist(), SCORES)


def systems_of(paths: Sequence[Path]) -> list[System]:
    """The seeds and splits in files of predictions, which must agree in their columns and metadata."""
    found = set()
    for path in paths:
        if not parquet_schema(path).equals(parquet_schema(paths[0]), check_metadata=True):
            raise UserError(f"{path}: other classes, frames or columns than in {paths[0]}; score them apart")
        with open_parquet(path) as file:
            for batch in file.iter_batches(columns=["seed", "split"]):
                table = pa.Table.from_batches([batch]).group_by(["seed", "split"]).aggregate([])
                found |= {(row["seed"], row["split"]) for row in table.to_pylist()}
    if not found:
        raise UserError(f"{paths[0]}: holds no prediction")
    return sorted(found)


def write_counts(job: Score, systems: Sequence[System], path: Path) -> None:
    """The records of every clip, one row group for each chunk of a system's clips."""
    splits = pa.array({split for _, split in systems})
    size = sum(size_of(source) for source in job.predictions)
    parts = 1 if job.settings.whole else max(1, math.ceil(size / PART))
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        predictions = divide(job.predictions, parts, Path(folder) / "predictions", splits)
        references = divide([job.manifest], parts, Path(folder) / "references", splits)
        writer: pq.ParquetWriter | None = None
        for files in progress(list(zip(predictions, references, strict=True)), "scoring", unit="part"):
            for system, clips, records in records_of(job, systems, *map(read_part, files)):
                about = {"family": job.family, "settings": job.settings.model_dump_json()}
                field = array_field("record", str(records.dtype), records.shape[1:])
                columns = [("seed", pa.int32()), ("split", pa.string()), ("clip_id", pa.string())]
                schema = pa.schema([*(pa.field(*column) for column in columns), field], metadata=about)
                arrays = [*([value] * len(clips) for value in system), clips, unstack(records, field)]
                if writer is None:
                    writer = stack.enter_context(parquet_writer(path, schema))
                writer.write_table(pa.table(arrays, schema=schema))


def size_of(path: Path) -> int:
    """The bytes of a file's rows in memory."""
    with open_parquet(path) as file:
        about = file.metadata
        return sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))


def divide(paths: Sequence[Path], count: int, folder: Path, splits: pa.Array) -> list[Path]:
    """The rows of some splits in `count` Arrow files, all rows of a clip in the same one, by a hash of its id."""
    folder.mkdir()
    files, schema = [folder / f"{number}.arrow" for number in range(count)], parquet_schema(paths[0])
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_stream(file, schema)) for file in files]
        for path in paths:
            for batch in batches(path):
                table = batch.filter(pc.is_in(batch["split"], splits))
                part = np.array([shard_of(clip, count) for clip in table["clip_id"].to_pylist()], int)
                for number in np.unique(part):
                    writers[number].write_batch(table.filter(pa.array(part == number)))
    return files


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file, a quarter of a part at a time."""
    with open_parquet(path) as file:
        row = size_of(path) / max(file.metadata.num_rows, 1)
        yield from file.iter_batches(max(1, int(min(PART / 4 / max(row, 1), 1 << 16))))


def read_part(path: Path) -> pa.Table:
    """What `divide` wrote."""
    with pa.ipc.open_stream(path) as stream:
        return stream.read_all()


def records_of(
    job: Score, systems: Sequence[System], predictions: pa.Table, manifest: pa.Table
) -> Iterator[tuple[System, list[str], np.ndarray]]:
    """The clips of one part and their records, chunk by chunk; the seeds of a split must have the same clips."""
    table = predictions.sort_by([(name, "ascending") for name in ("seed", "split", "clip_id")])
    counts = table.group_by(["seed", "split", "clip_id"]).aggregate([([], "count_all")])
    twice = counts.filter(pc.field("count_all") > 1).to_pylist()
    if twice:
        raise UserError(
            f"{job.predictions[-1]}: clip {twice[0]['clip_id']} is predicted twice by seed {twice[0]['seed']}"
        )
    predicted = manifest.filter(pc.is_in(manifest["clip_id"], table["clip_id"].combine_chunks()))
    rows = {row["clip_id"]: row for row in predicted.to_pylist()}
    first: dict[str, tuple[int, list[str]]] = {}
    for seed, split in systems:
        chosen = table.filter((pc.field("seed") == seed) & (pc.field("split") == split))
        clips = chosen["clip_id"].to_pylist()
        other, expected = first.setdefault(split, (seed, clips))
        if clips != expected:
            odd = min(set(clips) ^ set(expected))
            raise UserError(
                f"{job.predictions[0]}: of the seeds {other} and {seed} only one has clip {odd} of '{split}'; "
                "predict the same clips with all seeds"
            )
        size = chosen.nbytes / max(len(clips), 1)
        step = max(1, len(clips) if job.settings.whole else int(CHUNK / size))
        for start in range(0, len(clips), step):
            some = clips[start : start + step]
            references = references_of(rows, some, job.manifest)
            yield (seed, split), some, job.settings.records(chosen.slice(start, step), references, job.assets)


def references_of(manifest: dict[str, Row], clips: list[str], path: Path) -> list[Row]:
    """The manifest's rows of the clips, in their order."""
    unknown = next((clip for clip in clips if clip not in manifest), None)
    if unknown is not None:
        raise UserError(f"{path}: has no clip {unknown}, which the predictions name, in the predicted splits")
    return [manifest[clip] for clip in clips]
