"""Unpacks the archives of a corpus into one folder of source files.

All archives are looked through before anything is written: links, devices, paths that lead out of the folder, doubled
files and more data than can be honest are refused. The folder gets its name when all of it is there, so what a killed
job leaves behind is never taken for the whole. Names are kept to the letter.
"""

import contextlib
import json
import logging
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from workflow_scripts.assets.plan import UnpackArchives
from workflow_scripts.errors import UserError
from workflow_scripts.shards import atomic

log = logging.getLogger(__name__)

RATIO, ALWAYS = 100, 1 << 30  # an archive may hold so many times its size, and so many bytes in any case
GB = 1e9


class Member(NamedTuple):
    """What an archive says of one of its members."""

    name: str
    size: int
    is_file: bool
    is_folder: bool


class Archive(NamedTuple):
    """An opened archive: its members, and what writes all of them below a folder."""

    members: list[Member]
    extract: Callable[[Path], None]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """An archive of any known kind; what it is says its content, not its name. Raises `UserError`."""
    import py7zr

    try:
        if py7zr.is_7zfile(path):
            with path.open("rb") as file, py7zr.SevenZipFile(file) as seven:  # an open file is unpacked in one thread
                yield Archive(
                    [Member(one.filename, one.uncompressed, one.is_file, one.is_directory) for one in seven.files],
                    seven.extractall,
                )
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as tar:
                members = [Member(one.name, one.size, one.isfile(), one.isdir()) for one in tar]
                while tar.fileobj and tar.fileobj.read(1 << 20):  # the checksum of a packed tar stands at its end
                    pass
                yield Archive(members, lambda folder: tar.extractall(folder, filter="data"))
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                yield Archive(
                    [
                        Member(one.filename, one.file_size, not (one.is_dir() or special(one)), one.is_dir())
                        for one in packed.infolist()
                    ],
                    packed.extractall,
                )
        else:
            raise UserError(f"{path}: neither a 7z, nor a zip, nor a tar archive")
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - decompressors raise anything
        raise UserError(f"{path}: cannot be unpacked ({type(error).__name__}: {error})") from None


def special(member: zipfile.ZipInfo) -> bool:
    """Whether a zip's member is a link or a device, by the Unix mode that stands beside it, if any."""
    return stat.S_IFMT(member.external_attr >> 16) not in {0, stat.S_IFREG}


def check(path: Path, members: list[Member], files: set[PurePosixPath]) -> int:
    """The bytes that an archive holds; adds its files to those of the archives before it. Raises `UserError`."""
    for member in members:
        place = PurePosixPath(member.name)
        if not (member.is_file or member.is_folder):
            raise UserError(f"{path}: '{member.name}' is a link or a device; only files and folders are unpacked")
        if place.is_absolute() or ".." in place.parts:
            raise UserError(f"{path}: '{member.name}' leads out of the folder; the archive is not to be trusted")
        if member.is_file and place in files:
            raise UserError(f"{path}: the file '{member.name}' is there twice, or in two archives of the corpus")
        if member.is_file:
            files.add(place)
    claimed = sum(member.size for member in members)
    if claimed > max(RATIO * path.stat().st_size, ALWAYS):
        raise UserError(f"{path}: claims to hold {claimed / GB:.1f} GB, over {RATIO} times its size; not to be trusted")
    return claimed


def unpack(archives: Mapping[str, Path], folder: Path) -> dict[str, dict[str, int]]:
    """Unpacks archives, by asset id, into a new `folder`; gives the files and bytes of each.

    Raises `UserError`, naming the archive, when one is damaged or unfit, or the disk too small.
    """
    partial = folder.with_name(f".{folder.name}.part")
    for leftover in (partial, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    files: set[PurePosixPath] = set()
    found = {}
    for name, path in archives.items():
        with opened(path) as archive:
            held = check(path, archive.members, files)
        found[name] = {"files": sum(member.is_file for member in archive.members), "bytes": held}
    folder.parent.mkdir(parents=True, exist_ok=True)
    needed, free = sum(one["bytes"] for one in found.values()), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise UserError(f"{folder}: needs {needed / GB:.1f} GB, and {free / GB:.1f} GB are free: make room, run again")
    partial.mkdir()
    try:
        for name, path in archives.items():
            log.info("%s: %d files, %.1f GB", path.name, found[name]["files"], found[name]["bytes"] / GB)
            with opened(path) as archive:
                archive.extract(partial)
        open_up(partial)
        os.sync()  # of many thousand files: one by one takes longer
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return found


def open_up(folder: Path) -> None:
    """Makes all below a folder readable, and nothing executable: an archive's own modes may be anything."""
    for place, folders, files in os.walk(folder):
        for child in folders:
            Path(place, child).chmod(0o755)
        for child in files:
            Path(place, child).chmod(0o644)


def unpack_archives(job: UnpackArchives, output: Path) -> None:
    """Unpacks archives into one folder, made anew; writes the files and bytes of each, as JSON."""
    found = unpack(job.archives, job.folder)
    with atomic(output) as temporary:
        temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
