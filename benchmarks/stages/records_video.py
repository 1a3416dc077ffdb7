"""Video-level records of YouTube-8M, beside the `tfrecord` package."""

from pathlib import Path

from benchmarks import youtube8m
from benchmarks.stage import Stage, Work
from workflow_scripts.formats.youtube8m import read_videos


def ours(folder: Path) -> Work:
    return lambda: read_videos(folder / youtube8m.FILE)


STAGE = Stage(
    place=70,
    title="YouTube-8M records, video level",
    unit="examples",
    size=20_000,
    prepare=youtube8m.write_videos,
    ours=ours,
    peers={"tfrecord package": youtube8m.package_videos},
    limit=("the file is read, and nothing is made of it", youtube8m.file_only),
    same=youtube8m.same,
    note="Ours checks every checksum; the package checks none.",
)
