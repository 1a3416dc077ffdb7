"""Readers of YouTube-8M's records: ours beside the `tfrecord` package, and what training reads by the feature shards.

    python -m benchmarks.record_reader

Prints examples and megabytes a second of CPU time on the same generated files, in one run, and the size of the shards
beside that of the records. Ours and training check every checksum; the package checks none.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from workflow_scripts.errors import run
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
from workflow_scripts.shards import write
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.video_tagger.data import Records, means

SECONDS = 230  # of a video, about the data set's mean
Read = Callable[[Path], Iterable[Any]]


def videos(count: int, random: np.random.Generator) -> Iterator[Video]:
    for number in range(count):
        rgb, audio = random.normal(size=RGB), random.normal(size=AUDIO)
        yield Video(f"{number:04x}", random.integers(0, 3862, 3).tolist(), rgb.astype("f4"), audio.astype("f4"))


def frames(count: int, random: np.random.Generator) -> Iterator[Frames]:
    for number in range(count):
        rgb, audio = (random.integers(0, 256, (SECONDS, size), np.uint8) for size in (RGB, AUDIO))
        yield Frames(f"{number:04x}", random.integers(0, 3862, 3).tolist(), rgb, audio)


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
    """The record file as the shard that the feature stage makes of it, without split and state."""
    leading = [pa.field("clip_id", pa.string()), pa.field("labels", pa.list_(pa.int32()))]
    shard = path.with_suffix(".parquet")
    rows = (row | {"path": path.name} for row in extractor.read(path))
    schema = pa.schema([*leading, *extractor.columns()], {"records": "."})
    write(shard, rows, schema, extractor.rows_a_group)
    return shard


def blocks_of(shard: Path) -> Iterator[Block]:
    """What training makes of a shard, one row group in memory at a time."""
    file = pq.ParquetFile(shard)
    decode, columns = (Records(shard), Records.columns) if "path" in file.schema_arrow.names else (means, ["features"])
    for group in range(file.num_row_groups):
        yield decode(file.read_row_group(group, columns, use_threads=False))


def timed(read: Read, path: Path) -> float:
    start = time.process_time()
    for _ in read(path):
        pass
    return time.process_time() - start


def same(one: Video | Frames, other: Video | Frames) -> bool:
    return one[:2] == other[:2] and np.array_equal(one.rgb, other.rgb) and np.array_equal(one.audio, other.audio)


def main(
    video_examples: Annotated[int, typer.Option(min=1, help="Video-level examples in the file.")] = 20_000,
    frame_examples: Annotated[int, typer.Option(min=1, help="Frame-level examples in the file.")] = 300,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each reads the file; the median counts.")] = 5,
) -> None:
    """Prints, for each level and reader, its rate and our reader's ratio to it."""
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
            readers[level]["training"] = (blocks_of, converted[level])
            seconds: dict[str, list[float]] = {name: [] for name in readers[level]}
            for _ in range(rounds):  # in turn, so that a busy moment of the machine meets all of them
                for name, (read, path) in readers[level].items():
                    seconds[name].append(timed(read, path))
            median = {name: float(np.median(values)) for name, values in seconds.items()}
            for name in readers[level]:
                size = paths[level].stat().st_size / 1e6
                print(
                    f"{level} level, {name:8} {examples / median[name]:9,.0f} examples/s {size / median[name]:6,.0f} "
                    f"MB/s of {size:4,.0f} MB; ours is {median[name] / median['ours']:.2f} times as fast"
                )
            print(f"{level} level, the shard takes {converted[level].stat().st_size / size / 1e4:.1f} % of the records")


if __name__ == "__main__":
    run(lambda: typer.run(main))
