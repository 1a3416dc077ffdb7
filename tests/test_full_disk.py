"""A disk that is full is said as such, by the folder, and nothing half-written stays."""

import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.numpy import save_file

from workflow_scripts import errors, shards
from workflow_scripts.errors import UserError
from workflow_scripts.files import JsonLines
from workflow_scripts.training import checkpoints

ROOM = 1 << 16
NOISE = np.random.default_rng(0).bytes(ROOM * 4)


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file may be larger than `ROOM`; to a writer that is as a full disk, but for the number of the error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def parquet(path: Path) -> None:
    rows = ({"data": NOISE[n * 256 : (n + 1) * 256]} for n in range(ROOM // 64))
    shards.write(path, rows, pa.schema([pa.field("data", pa.binary())]))


def text(path: Path) -> None:
    with shards.atomic(path) as temporary:
        temporary.write_text("x" * ROOM * 2, encoding="utf-8")


def weights(path: Path) -> None:
    with shards.atomic(path) as temporary:
        save_file({"a": np.frombuffer(NOISE, np.uint8)}, temporary)


def checkpoint(path: Path) -> None:
    checkpoints.save(path, {"a": torch.frombuffer(bytearray(NOISE), dtype=torch.uint8)})


@pytest.mark.parametrize("write", [parquet, text, weights, checkpoint])
def test_our_writers(write: Callable[[Path], None], tmp_path: Path, little_room: None) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(UserError, match=rf"^{tmp_path}: .*; make room there and run the same command again$"):
        write(tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_json_lines(tmp_path: Path, little_room: None) -> None:
    with pytest.raises(UserError, match=rf"^{tmp_path}: File too large; make room there"):
        JsonLines(tmp_path / "journal").add({"a": "x" * ROOM})


def test_it_is_no_fault_of_a_clip() -> None:
    def work(rows: list[shards.Row]) -> list[shards.Row | shards.ClipError]:
        if rows[0]["clip_id"] == "b":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return [{}]

    rows = [{"clip_id": clip, "status": shards.Status.OK} for clip in "abc"]
    with pytest.raises(OSError, match="No space left"):
        list(shards.map_rows(rows, work, "clips"))


def test_a_command_ends_with_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/scratch/x")

    with pytest.raises(SystemExit):
        errors.run(command)
    assert capsys.readouterr().err == "error: /scratch/x: No space left on device; make room and run again\n"
