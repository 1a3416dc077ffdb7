"""Frames as training reads them, out of the record files."""

import hashlib
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from workflow_scripts.features.extractors import youtube8m_frames
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import AUDIO, RGB, Frames, encode_frames
from workflow_scripts.models.dbof import frame_places
from workflow_scripts.shards import STATE, write
from workflow_scripts.training.stream import Block, Source, Stream
from workflow_scripts.training.systems.video_tagger.data import Records, chosen_frames

MOST = 9  # frames that are read of a video


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Shards of three record files of 25 videos, some of them with more frames than are read."""
    random, extractor = np.random.default_rng(0), youtube8m_frames.Extractor(max_frames=MOST)
    leading = [pa.field("clip_id", pa.string()), pa.field("split", pa.string())]
    schema = pa.schema([*leading, *extractor.columns(), *STATE], {"records": "."})
    shards = [tmp_path / f"{number}.parquet" for number in range(3)]
    for number, shard in enumerate(shards):
        path = shard.with_suffix(".tfrecord")
        videos = [
            Frames(
                f"{number}-{n}", [1], *(random.integers(0, 256, (seconds, d)).astype(np.uint8) for d in (RGB, AUDIO))
            )
            for n, seconds in enumerate(random.integers(1, 14, 25).tolist())
        ]
        tfrecord.write(path, map(encode_frames, videos))
        rows = (
            row | {"path": path.name, "split": "train" if n % 4 else "dev", "status": "ok"}
            for n, row in enumerate(extractor.read(path))
        )
        write(shard, rows, schema, 7)
    return shards


def opened(files: list[Path]) -> Stream:
    return Stream([Source("frames", files, Records.columns, Records(files[0]))], ["train", "dev"], 0)


def test_the_same_seeds_give_the_same_batches(files: list[Path]) -> None:
    """The digest is that of a reader which decoded every record in full, one after the other."""
    digest, stream = hashlib.blake2b(digest_size=8), opened(files)
    torch.manual_seed(5)
    for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1)):
        for block in stream.shuffled("train", 8, 20, seed, epoch):
            digest.update(" ".join(block["clip_id"]).encode() + block["num_frames"].tobytes())
            valid = torch.from_numpy(block["num_frames"])
            places = frame_places(valid, torch.rand(len(valid), 5))
            digest.update(chosen_frames(block, places.numpy()).tobytes())
    for block in stream.in_order("dev", 4, 9):
        every = np.broadcast_to(np.arange(MOST), (len(block["rgb"]), MOST))
        digest.update(chosen_frames(block, every).tobytes())
    assert digest.hexdigest() == "1ac2463f7e312024"


def test_units_are_read_while_others_are_used(files: list[Path]) -> None:
    meeting = threading.Barrier(2, timeout=60)  # it is passed by two at once
    read = Records(files[0])

    def decode(table: pa.Table) -> Block:
        if not meeting.broken and len(seen) < 2:
            seen.append(threading.current_thread())
            meeting.wait()
        return read(table)

    seen: list[threading.Thread] = []
    stream = Stream([Source("frames", files, Records.columns, decode)], ["train"], 0)
    assert sum(len(block["rgb"]) for block in stream.in_order("train", 100)) == stream.counts["train"]
    assert len(set(seen)) == 2


def test_the_memory_of_records_that_nobody_holds_is_used_again() -> None:
    memory = tfrecord.Memory()
    first, other = memory.take(1000), memory.take(1000)
    place, view = first.ctypes.data, first[:10]
    del first
    assert memory.take(1000).ctypes.data not in {place, other.ctypes.data}, "a view of it is held"
    del view
    assert memory.take(900).ctypes.data == place


def test_frames_before_or_behind_the_sound(tmp_path: Path, files: list[Path]) -> None:
    """Records whose lists have another order come out the same."""
    item = Frames("aa", [1], np.arange(RGB * 3, dtype=np.uint8).reshape(3, RGB), np.full((3, AUDIO), 7, np.uint8))
    record = encode_frames(item)
    lists = record.index(b"\x12", record.index(b"labels"))
    begin = record.index(b"\n", record.index(b"\x03rgb") - 4)
    seconds = record.index(b"\n", record.index(b"\x05audio") - 4)
    assert lists < begin < seconds
    turned = record[:begin] + record[seconds:] + record[begin:seconds]
    path = tmp_path / "turned.tfrecord"
    tfrecord.write(path, [record, turned])
    rows = list(youtube8m_frames.Extractor(max_frames=MOST).read(path))
    table = pa.Table.from_pylist([row | {"path": path.name} for row in rows])
    block = Records(files[0])(table)
    for rgb, audio in zip(block["rgb"], block["audio"], strict=True):
        assert np.array_equal(rgb, item.rgb) and np.array_equal(audio, item.audio)
