"""Readers of YouTube-8M's records: ours beside the `tfrecord` package, and the stream from which training learns.

    python -m benchmarks.record_reader

Prints examples and megabytes a second on the same generated files, in one run, and the size of the shards beside that
of the records. Readers give one example after the other, in the order of the file; the stream gives shuffled batches
with labels, of frames those that a network draws. Ours and the stream check every checksum; the package checks none.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch
import typer

from workflow_scripts.errors import run
from workflow_scripts.features.extract_records import LEADING
from workflow_scripts.features.extractors import youtube8m_frames, youtube8m_video
from workflow_scripts.features.interface import RecordExtractor
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import (
    AUDIO,
    RGB,
    Frames,
    Video,
    encode_frames,
    encode_video,
    read_frames,
    read_videos,
)
from workflow_scripts.models.dbof import draw_frames
from workflow_scripts.shards import STATE, Status, write
from workflow_scripts.training.sampling import prefetch
from workflow_scripts.training.stream import Source, Stream
from workflow_scripts.training.systems.video_tagger.data import Records, chosen_frames, means, packed_labels

SECONDS = 230  # of a video, about the data set's mean
CLASSES, DRAWN, BATCH = 3862, 30, 64  # frames drawn of a video, videos in a batch
Read = Callable[[Path], Iterable[Any]]


def videos(count: int, random: np.random.Generator) -> Iterator[Video]:
    for number in range(count):
        rgb, audio = random.normal(size=RGB), random.normal(size=AUDIO)
        yield Video(f"{number:04x}", random.integers(0, CLASSES, 3).tolist(), rgb.astype("f4"), audio.astype("f4"))


def frames(count: int, random: np.random.Generator) -> Iterator[Frames]:
    for number in range(count):
        rgb, audio = (random.integers(0, 256, (SECONDS, size), np.uint8) for size in (RGB, AUDIO))
        yield Frames(f"{number:04x}", random.integers(0, CLASSES, 3).tolist(), rgb, audio)


def package_videos(path: Path) -> Iterator[Video]:
    from tfrecord.reader import tfrecord_loader

    description = {"id": "byte", "labels": "int", "mean_rgb": "float", "mean_audio": "float"}
    for found in tfrecord_loader(str(path), None, description):
        yield Video(bytes(found["id"]).decode(), list(found["labels"]), found["mean_rgb"], found["mean_audio"])


def package_frames(path: Path) -> Iterator[Frames]:
    from tfrecord.reader import sequence_loader

    about, lists = {"id": "byte", "labels": "int"}, {"rgb": "byte", "audio": "byte"}
    for found, rows in sequence_loader(str(path), None, about, lists):
        rgb = np.frombuffer(b"".join(rows["rgb"]), np.uint8).reshape(-1, RGB)
        audio = np.frombuffer(b"".join(rows["audio"]), np.uint8).reshape(-1, AUDIO)
        yield Frames(bytes(found["id"]).decode(), list(found["labels"]), rgb, audio)


def shard_of(extractor: RecordExtractor, path: Path) -> Path:
    """The record file as the shard that the feature stage makes of it, all for training."""
    shard, known = path.with_suffix(".parquet"), {"path": path.name, "split": "train", "status": Status.OK}
    schema = pa.schema([*LEADING, pa.field("path", pa.string()), *own_columns(extractor), *STATE], {"records": "."})
    write(shard, (row | known for row in extractor.read(path)), schema, extractor.rows_a_group)
    return shard


def own_columns(extractor: RecordExtractor) -> list[pa.Field]:
    return [column for column in extractor.columns() if column.name != "path"]


def stream_of(shard: Path, level: str) -> Read:
    """An epoch of what training reads: batches of means, or of drawn frames, each with its labels."""
    read: Any = Records(shard) if level == "frame" else means
    columns = Records.columns if level == "frame" else ["features"]

    def decode(table: pa.Table) -> Any:
        return read(table) | {"labels": packed_labels(table, CLASSES)}

    stream = Stream([Source(level, [shard], [*columns, "labels"], decode)], ["train"], cache_bytes=0)

    def epoch(_: Path) -> Iterator[Any]:
        pool = max(stream.counts["train"] // 4, 1)
        for block in prefetch(stream.shuffled("train", BATCH, pool, seed=0, epoch=0)):
            if level == "frame":
                places = draw_frames(torch.from_numpy(block["num_frames"]), DRAWN, None)
                yield chosen_frames(block, places.numpy())
            else:
                yield block

    return epoch


def timed(read: Read, path: Path) -> float:
    """Seconds on the clock."""
    start = time.perf_counter()
    for _ in read(path):
        pass
    return time.perf_counter() - start


def same(one: Video | Frames, other: Video | Frames) -> bool:
    return one[:2] == other[:2] and np.array_equal(one.rgb, other.rgb) and np.array_equal(one.audio, other.audio)


def main(
    video_examples: Annotated[int, typer.Option(min=1, help="Video-level examples in the file.")] = 20_000,
    frame_examples: Annotated[int, typer.Option(min=1, help="Frame-level examples in the file.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each reads the file; the fastest counts.")] = 9,
) -> None:
    """Prints, for each level, the rate of each reader, and how much faster the stream is than each."""
    random = np.random.default_rng(0)
    pa.set_cpu_count(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = {level: Path(folder) / f"{level}.tfrecord" for level in ("video", "frame")}
        tfrecord.write(paths["video"], map(encode_video, videos(video_examples, random)))
        tfrecord.write(paths["frame"], map(encode_frames, frames(frame_examples, random)))
        converted = {
            "video": shard_of(youtube8m_video.Extractor(), paths["video"]),
            "frame": shard_of(youtube8m_frames.Extractor(), paths["frame"]),
        }
        readers: dict[str, dict[str, tuple[Read, Path]]] = {
            "video": {"ours": (read_videos, paths["video"]), "tfrecord": (package_videos, paths["video"])},
            "frame": {"ours": (read_frames, paths["frame"]), "tfrecord": (package_frames, paths["frame"])},
        }
        for level, examples in (("video", video_examples), ("frame", frame_examples)):
            both = (read(path) for read, path in readers[level].values())
            if not all(same(ours, theirs) for ours, theirs in zip(*both, strict=True)):
                raise AssertionError(f"the readers of the {level} level differ")
            readers[level]["stream"] = (stream_of(converted[level], level), converted[level])
            seconds: dict[str, list[float]] = {name: [] for name in readers[level]}
            for _ in range(rounds):  # in turn, so that a busy moment of the machine meets all of them
                for name, (read, path) in readers[level].items():
                    seconds[name].append(timed(read, path))
            fastest = {name: min(values) for name, values in seconds.items()}
            for name in readers[level]:
                size = paths[level].stat().st_size / 1e6
                print(
                    f"{level} level, {name:8} {examples / fastest[name]:9,.0f} examples/s {size / fastest[name]:6,.0f} "
                    f"MB/s of {size:4,.0f} MB; the stream is {fastest[name] / fastest['stream']:.2f} times as fast"
                )
            print(f"{level} level, the shard takes {converted[level].stat().st_size / size / 1e4:.1f} % of the records")


if __name__ == "__main__":
    run(lambda: typer.run(main))
