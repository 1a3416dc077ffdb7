"""Shards: one row a clip, whatever happens to it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.errors import UserError
from workflow_scripts.parquet import open_parquet
from workflow_scripts.shards import (
    ClipError,
    Reason,
    Row,
    Status,
    array_field,
    atomic,
    map_rows,
    pack,
    read,
    shard_of,
    stack,
    write,
)


def rows(count: int) -> list[Row]:
    return [{"clip_id": str(i), "status": "ok", "reason": None, "detail": None, "n": i} for i in range(count)]


def double(batch: list[Row]) -> list[Row | ClipError]:
    if any(row["n"] == 3 for row in batch):
        raise ZeroDivisionError("three")
    return [
        ClipError(Status.FAILED, Reason.SILENT, "no sound") if row["n"] == 5 else {"twice": 2 * row["n"]}
        for row in batch
    ]


@pytest.mark.parametrize("batch", [1, 2, 4, 100])
def test_failures_are_rows_in_order_and_hit_nobody_else(batch: int) -> None:
    source = rows(8)
    source[1] |= {"status": "unavailable", "reason": "private", "detail": "gone"}
    done = list(map_rows(source, double, "test", batch=batch))
    assert [row["clip_id"] for row in done] == [str(i) for i in range(8)]
    assert [row.get("twice") for row in done] == [0, None, 4, None, 8, None, 12, 14]
    assert {row["clip_id"]: (row["status"], row["reason"]) for row in done if row["status"] != "ok"} == {
        "1": ("unavailable", "private"),
        "3": ("failed", "unexpected_error"),
        "5": ("failed", "silent"),
    }
    assert done[3]["detail"] == "ZeroDivisionError: three"


@given(
    st.lists(st.lists(st.floats(width=16, allow_nan=False), min_size=6, max_size=6), min_size=1, max_size=9),
    st.integers(0, 3),
)
def test_arrays_come_back(values: list[list[float]], start: int) -> None:
    field = array_field("x", "float16", (2, 3))
    arrays = np.array(values, np.float16).reshape(-1, 2, 3)
    table = pa.table([pa.array([pack(array, field) for array in arrays], field.type)], pa.schema([field]))
    np.testing.assert_array_equal(stack(table, "x"), arrays)
    np.testing.assert_array_equal(stack(table.slice(start), "x"), arrays[start:])
    np.testing.assert_array_equal(stack(pa.concat_tables([table, table]), "x"), np.concatenate([arrays, arrays]))


def test_an_array_column_is_not_inflated(tmp_path: Path) -> None:
    field = array_field("x", "uint8", (1000,))
    schema = pa.schema([field])
    noise = np.random.default_rng(0).integers(0, 256, (100, 1000), np.uint8)
    write(tmp_path / "x.parquet", ({"x": pack(row, field)} for row in noise), schema)
    assert (tmp_path / "x.parquet").stat().st_size < 110_000
    np.testing.assert_array_equal(stack(pq.read_table(tmp_path / "x.parquet"), "x"), noise)


def test_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\), found \(3, 2\)"):
        pack(np.zeros((3, 2)), array_field("x", "float32", (2, 3)))


@given(st.text(min_size=1), st.integers(1, 100))
def test_a_clip_stays_in_its_shard(clip_id: str, count: int) -> None:
    assert 0 <= shard_of(clip_id, count) < count
    assert shard_of(clip_id, count) == shard_of(clip_id, count)


def test_shards_are_even_and_fixed() -> None:
    sizes = np.bincount([shard_of(f"clip{i}", 8) for i in range(8000)])
    assert sizes.min() > 900
    assert sizes.max() < 1100
    assert shard_of("Y-0AO5VcOZ9E_30.000_40.000", 32) == shard_of("Y-0AO5VcOZ9E_30.000_40.000", 64) % 32


def test_a_broken_write_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> object:
        yield {"clip_id": "a", "status": "ok"}
        raise RuntimeError

    schema = pa.schema([("clip_id", pa.string()), ("status", pa.string())])
    with pytest.raises(RuntimeError):
        write(tmp_path / "x.parquet", broken(), schema)
    with pytest.raises(RuntimeError), atomic(tmp_path / "y") as temporary:
        temporary.touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    """But not what another process is writing now."""
    code = "import os, sys, workflow_scripts.shards as s; from pathlib import Path\n"
    code += "with s.atomic(Path(sys.argv[1])) as t: "
    killed = [sys.executable, "-c", code + "t.write_text('half'); os.kill(os.getpid(), 9)", str(tmp_path / "y")]
    subprocess.run(killed, check=False)
    assert len(list(tmp_path.iterdir())) == 1
    writing = [sys.executable, "-c", code + "t.write_text('x'); print(t, flush=True); input()", str(tmp_path / "y")]
    with subprocess.Popen(writing, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin and other.stdout
        theirs = Path(other.stdout.readline().strip())
        with atomic(tmp_path / "y") as temporary:
            temporary.write_text("whole")
        assert {path.name for path in tmp_path.iterdir()} == {"y", theirs.name}
        other.stdin.write("\n")
        other.stdin.flush()
    assert [path.name for path in tmp_path.iterdir()] == ["y"]


def test_an_unreadable_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"a\.parquet: not a readable Parquet file"):
        list(read(tmp_path / "a.parquet"))


@pytest.mark.parametrize("way", [name for name in dir(pq.ParquetFile) if name.startswith(("read", "iter"))])
def test_a_shard_damaged_inside_is_named_however_it_is_read(way: str, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"number": np.arange(9999)}), path, write_page_checksum=True, compression="none")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    which = {"read_row_group": [0], "read_row_groups": [[0]]}.get(way, [])
    with open_parquet(path) as file, pytest.raises(UserError, match=r"a\.parquet: not a readable Parquet file"):
        list(getattr(file, way)(*which))
