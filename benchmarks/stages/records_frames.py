"""Frame-level records of YouTube-8M, beside the `tfrecord` package."""

from pathlib import Path

from benchmarks import youtube8m
from benchmarks.stage import Stage, Work
from workflow_scripts.formats.youtube8m import read_frames


def ours(folder: Path) -> Work:
    return lambda: read_frames(folder / youtube8m.FILE)


STAGE = Stage(
    place=71,
    title="YouTube-8M records, frame level",
    unit="examples",
    size=1000,
    prepare=youtube8m.write_frames,
    ours=ours,
    peers={"tfrecord package": youtube8m.package_frames},
    limit=("the file is read, and nothing is made of it", youtube8m.file_only),
    same=youtube8m.same,
    note="Ours checks every checksum; the package checks none.",
)
