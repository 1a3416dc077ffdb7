"""Record files of YouTube-8M and what reads them, for the stages that do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.stage import Work, agree
from workflow_scripts.features.extract_records import LEADING
from workflow_scripts.features.interface import RecordExtractor
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import AUDIO, RGB, Frames, Video, encode_frames, encode_video
from workflow_scripts.shards import STATE, Status, write

CLASSES, LABELS = 3862, 3  # and labels of a video
SECONDS = 230  # of a video, about the data set's mean
FILE = "records.tfrecord"


def write_videos(folder: Path, count: int) -> None:
    """A video-level file."""
    random = np.random.default_rng(0)

    def examples() -> Iterator[Video]:
        for number in range(count):
            rgb, audio = random.normal(size=RGB), random.normal(size=AUDIO)
            labels = random.integers(0, CLASSES, LABELS).tolist()
            yield Video(f"{number:04x}", labels, rgb.astype("f4"), audio.astype("f4"))

    tfrecord.write(folder / FILE, map(encode_video, examples()))


def write_frames(folder: Path, count: int) -> None:
    """A frame-level file."""
    random = np.random.default_rng(0)

    def examples() -> Iterator[Frames]:
        for number in range(count):
            rgb, audio = (random.integers(0, 256, (SECONDS, size), np.uint8) for size in (RGB, AUDIO))
            yield Frames(f"{number:04x}", random.integers(0, CLASSES, LABELS).tolist(), rgb, audio)

    tfrecord.write(folder / FILE, map(encode_frames, examples()))


def shard(extractor: RecordExtractor, path: Path) -> Path:
    """The record file as the shard that the feature stage makes of it, all for training."""
    found, known = path.with_suffix(".parquet"), {"path": path.name, "split": "train", "status": Status.OK}
    own = [column for column in extractor.columns() if column.name != "path"]
    schema = pa.schema([*LEADING, pa.field("path", pa.string()), *own, *STATE], {"records": "."})
    write(found, (row | known for row in extractor.read(path)), schema, extractor.rows_a_group)
    return found


def package_videos(folder: Path) -> Work:
    """The `tfrecord` package's reader of video-level files."""
    from tfrecord.reader import tfrecord_loader

    kinds = {"id": "byte", "labels": "int", "mean_rgb": "float", "mean_audio": "float"}

    def examples() -> Iterator[Video]:
        for found in tfrecord_loader(str(folder / FILE), None, kinds):
            yield Video(bytes(found["id"]).decode(), list(found["labels"]), found["mean_rgb"], found["mean_audio"])

    return examples


def package_frames(folder: Path) -> Work:
    """The `tfrecord` package's reader of frame-level files."""
    from tfrecord.reader import sequence_loader

    about, lists = {"id": "byte", "labels": "int"}, {"rgb": "byte", "audio": "byte"}

    def examples() -> Iterator[Frames]:
        for found, rows in sequence_loader(str(folder / FILE), None, about, lists):
            rgb, audio = (np.frombuffer(b"".join(rows[key]), np.uint8) for key in ("rgb", "audio"))
            frames = rgb.reshape(-1, RGB), audio.reshape(-1, AUDIO)
            yield Frames(bytes(found["id"]).decode(), list(found["labels"]), *frames)

    return examples


def file_only(folder: Path) -> Work:
    """The bytes of the file."""

    def work() -> None:
        buffer = bytearray(1 << 20)
        with (folder / FILE).open("rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    return work


def same(ours: Work, theirs: Work) -> str:
    """That all examples are the same."""
    for one, other in zip(ours(), theirs(), strict=True):
        equal: Any = one[:2] == other[:2] and all(map(np.array_equal, one[2:], other[2:]))
        agree(equal, f"the example '{one.clip_id}' differs")
    return "every example is the same"
