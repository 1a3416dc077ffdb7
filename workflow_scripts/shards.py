"""Shards: Parquet files with one row per clip, and the driver that maps one shard to the next.

Every shard has `clip_id`, the stage's own columns, `status`, `reason` and `detail`. A big array is one fixed-size
binary column whose dtype and shape stand in the field's metadata.
"""

import contextlib
import glob
import hashlib
import itertools
import json
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.errors import UserError, full, room_in
from workflow_scripts.parquet import open_parquet
from workflow_scripts.progress import progress

log = logging.getLogger(__name__)

Row = dict[str, Any]


class Status(StrEnum):
    """What became of a clip."""

    OK = "ok"
    UNAVAILABLE = "unavailable"  # the source does not give it out
    FAILED = "failed"  # it was there, and could not be used
    SKIPPED = "skipped"  # left out on purpose


class Reason(StrEnum):
    """Why a clip is not `ok`: a closed vocabulary."""

    PRIVATE = "private"
    REMOVED = "removed"
    TERMINATED = "account_terminated"
    GEO = "geo_restricted"
    AGE = "age_restricted"
    LOGIN = "login_required"
    NOT_FOUND = "not_found"
    UNSUPPORTED = "unsupported_link"
    NO_FORMAT = "no_matching_format"
    FORBIDDEN = "forbidden"
    BOT_CHECK = "bot_check"
    RATE_LIMITED = "rate_limited"
    NETWORK = "network_error"
    SERVER = "server_error"
    CUT_FAILED = "cut_failed"
    TOO_SHORT = "too_short"
    TOO_LARGE = "too_large"
    SILENT = "silent"
    NO_AUDIO = "no_audio_stream"
    NO_VIDEO = "no_video_stream"
    DECODE = "decode_error"
    CHECKSUM = "wrong_checksum"
    CRASHED = "decoder_crashed"
    BOUNDS = "out_of_bounds"
    MISSING = "missing_file"
    DAMAGED = "damaged_file"
    EMBEDDING_DISABLED = "embedding_disabled"
    NO_TEXT = "no_text"
    NOT_ENGLISH = "not_english"
    NO_VECTOR = "no_word_vector"
    NO_LABEL = "no_label"
    UNKNOWN_LABEL = "unknown_label"
    LIMIT = "beyond_limit"
    NOT_SAMPLED = "not_sampled"
    UNEXPECTED = "unexpected_error"

    @property
    def transient(self) -> bool:
        """Whether asking again later may help; a rerun retries these clips only."""
        return self in TRANSIENT

    @property
    def ours(self) -> bool:
        """Whether the source is not the cause: what lies on our disk, our programs and machines are."""
        return self in OURS


OURS = {
    Reason.MISSING,  # a file that was fetched, and is not there
    Reason.DAMAGED,  # or is not what was fetched
    Reason.UNEXPECTED,
}
TRANSIENT = {
    *OURS,
    Reason.NO_FORMAT,  # sites hold formats back from whom they doubt
    Reason.FORBIDDEN,
    Reason.BOT_CHECK,
    Reason.RATE_LIMITED,
    Reason.NETWORK,
    Reason.SERVER,
}


class ClipError(Exception):
    """A clip cannot be used: becomes its row's status, reason and detail.

    `pause`: the seconds that the source asks us to wait before it is asked again.
    """

    def __init__(self, status: Status, reason: Reason, detail: str = "", pause: float = 0.0) -> None:
        super().__init__(f"{reason}: {detail}")
        self.status, self.reason, self.detail, self.pause = status, reason, detail, pause

    def __reduce__(self) -> tuple[type["ClipError"], tuple[Status, Reason, str]]:
        return type(self), (self.status, self.reason, self.detail)  # so that it comes back from other processes


STATE = [
    pa.field("status", pa.string(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("detail", pa.string()),
]


def shard_of(clip_id: str, count: int, seed: int = 0) -> int:
    """The shard, 0 … count-1, to which a clip belongs: a hash of its id, the same on every machine."""
    salt = seed.to_bytes(8, "little")
    return int.from_bytes(hashlib.blake2b(clip_id.encode(), digest_size=8, salt=salt).digest(), "big") % count


def draw(name: str, seed: int) -> tuple[int, str]:
    """The place of a clip, or of another thing with a name, in a random order: samples take those with the lowest."""
    return shard_of(name, 1 << 62, seed), name


def array_field(name: str, dtype: str, shape: Sequence[int]) -> pa.Field:
    """A fixed-size binary column for one array a clip, its dtype and shape in the field's metadata."""
    metadata = {"dtype": dtype, "shape": json.dumps(list(shape))}
    return pa.field(name, pa.binary(int(np.dtype(dtype).itemsize * np.prod(shape))), metadata=metadata)


def array_spec(field: pa.Field) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The dtype and shape of a column made by `array_field`."""
    return np.dtype(field.metadata[b"dtype"].decode()), tuple(json.loads(field.metadata[b"shape"]))


def pack(array: np.ndarray, field: pa.Field) -> bytes:
    """An array as the bytes of its column; a wrong shape is an error, a dtype is converted."""
    dtype, shape = array_spec(field)
    if array.shape != shape:
        raise ValueError(f"column '{field.name}' holds arrays of shape {shape}, found {array.shape}")
    return np.ascontiguousarray(array, dtype=dtype).tobytes()


def stack(table: pa.Table, name: str) -> np.ndarray:
    """All arrays of a fixed-size binary column without nulls, stacked: (rows, *shape)."""
    dtype, shape = array_spec(table.schema.field(name))
    column = table[name].combine_chunks()
    if column.null_count:
        raise ValueError(f"column '{name}' has {column.null_count} rows without a value")
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [
        np.frombuffer(c.buffers()[1], dtype=np.uint8)[c.offset * c.type.byte_width :][: len(c) * c.type.byte_width]
        for c in chunks
    ]
    flat = np.concatenate(parts) if parts else np.empty(0, np.uint8)
    return flat.view(dtype).reshape(table.num_rows, *shape)


def unstack(arrays: np.ndarray, field: pa.Field) -> pa.Array:
    """Stacked arrays as the column from which `stack` makes them."""
    dtype, shape = array_spec(field)
    if arrays.shape[1:] != shape:
        raise ValueError(f"column '{field.name}' holds arrays of shape {shape}, found {arrays.shape[1:]}")
    data = pa.py_buffer(np.ascontiguousarray(arrays, dtype=dtype).tobytes())
    return pa.Array.from_buffers(field.type, len(arrays), [None, data])


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to `path` on success, on the disk by then; else removed.

    A full disk is a `UserError`.
    """
    with room_in(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname()
    for left in path.parent.glob(f".{glob.escape(path.name)}.{glob.escape(host)}.*.part"):
        import psutil  # hardly ever needed, and the plan reads this module

        if not psutil.pid_exists(int(left.suffixes[-2][1:])):  # a killed process
            left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{host}.{os.getpid()}.part")
    try:
        with room_in(path.parent):
            yield temporary
            move(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def move(finished: Path, path: Path) -> None:
    """Gives a finished file its name; content and name are on the disk by then. Of a link its target is meant."""
    sync(finished)
    finished.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Waits until a file's content, or a folder's names, would outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Writes our Parquet files; the checksum of each page tells reading of a damage."""
    return pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)


def write(path: Path, rows: Iterable[Row], schema: pa.Schema, rows_a_group: int = 256) -> None:
    """Writes rows (dicts) to a Parquet file atomically, one row group at a time; missing keys become null."""
    with atomic(path) as temporary:
        write_rows(temporary, rows, schema, rows_a_group)


def write_rows(path: Path, rows: Iterable[Row], schema: pa.Schema, rows_a_group: int = 256) -> None:
    """The same to a name that nobody reads yet."""
    with parquet_writer(path, schema) as writer:
        group: list[Row] = []
        for row in rows:
            group.append(row)
            if len(group) == rows_a_group:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                group = []
        writer.write_table(pa.Table.from_pylist(group, schema=schema))


def read(path: Path, columns: list[str] | None = None) -> Iterator[Row]:
    """The rows of a Parquet file as dicts, streamed by row group."""
    with open_parquet(path) as file:
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group, columns=columns).to_pylist()


def rows_in(path: Path) -> int:
    """The number of rows of a Parquet file."""
    with open_parquet(path) as file:
        return int(file.metadata.num_rows)


def map_rows(
    source: Iterable[Row],
    function: Callable[[list[Row]], list[Row | ClipError]],
    description: str,
    total: int | None = None,
    batch: int = 1,
    carry: Sequence[str] = (),
) -> Iterator[Row]:
    """Maps `ok` rows through `function` in batches, in order; the others pass with their status and reason.

    `function` gets a batch of rows and returns, for each, the stage's columns or the `ClipError` that befell it.
    Anything that it raises instead is recorded for the clip that caused it, a fault that is no `ClipError` as
    `unexpected_error`; but a `UserError` passes. `carry` names source columns to copy.
    """

    def attempt(rows: list[Row]) -> Sequence[Row | ClipError]:
        """The results of a batch; one that fails as a whole is tried again clip by clip."""
        try:
            return function(rows)
        except UserError:
            raise
        except Exception as error:
            if full(error):
                raise  # no fault of any clip
            if len(rows) > 1:
                return [result for row in rows for result in attempt([row])]
            if isinstance(error, ClipError):
                return [error]
            log.exception("unexpected error at %s", rows[0]["clip_id"])
            return [ClipError(Status.FAILED, Reason.UNEXPECTED, f"{type(error).__name__}: {error}")]

    def finish(rows: list[Row]) -> Iterator[Row]:
        usable = [row for row in rows if row["status"] == Status.OK]
        results = iter(attempt(usable) if usable else ())
        for row in rows:
            base = {name: row.get(name) for name in ("clip_id", *carry, "status", "reason", "detail")}
            result = next(results) if row["status"] == Status.OK else {}
            if isinstance(result, ClipError):
                yield {**base, "status": result.status, "reason": result.reason, "detail": result.detail}
            else:
                yield {**base, **result}

    rows = iter(progress(source, description, total))
    while group := list(itertools.islice(rows, batch)):
        yield from finish(group)
