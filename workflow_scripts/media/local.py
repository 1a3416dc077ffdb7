"""Clips out of files that one has: found by their names, read where they lie, and cut where they are whole sources.

Nobody is asked, so there is no patience and no passing reason: a file that is empty or damaged is a failure, told again
whenever the job runs, and one that is not there is told as missing, unless the clip has a link.
"""

import hashlib
import itertools
import logging
import re
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from workflow_scripts.errors import UserError
from workflow_scripts.files import read_lines
from workflow_scripts.media import stored
from workflow_scripts.media.journal import Entry, Journal
from workflow_scripts.media.plan import FetchClips
from workflow_scripts.media.probe import asked, check_length, measure, shortest, streams
from workflow_scripts.media.server import is_url
from workflow_scripts.media.workers import Workers
from workflow_scripts.media.ydl import FFMPEG_FULL, ONE_THREAD, RUN_UP, SOUND
from workflow_scripts.progress import progress
from workflow_scripts.settings.archive import Archive
from workflow_scripts.settings.download import Download
from workflow_scripts.shards import ClipError, Reason, Row, Status, move

log = logging.getLogger(__name__)

# "<checksum>  name", as md5sum and others write it, or "<checksum>,name,…"
CHECKSUM = re.compile(r"\\?([0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})(?:,([^,]+)(?:,.*)?|\s+\*?(.+))", re.IGNORECASE)
ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256"}


def from_archive(
    job: FetchClips, archive: Archive, rows: list[Row], partial: Path, journal: Journal, workers: Workers
) -> dict[str, Row]:
    """What became of the clips whose files the archive has, and of those that are missing and have no link, by id.

    A folder that is not there is a `UserError`.
    """
    for folder in job.folders:
        if not folder.is_dir():
            raise UserError(f"the archive's folder {folder} is not there; put the files there, or name another one")
    found = {row["clip_id"]: place for row in rows if (place := find(job.folders, row))}
    for folder in job.folders:
        there = sum(place[0] == folder for place in found.values())
        log.info("%s: files of %d of %d clips are there", folder, there, len(rows))
        if rows and not there:
            log.warning(
                "%s: no clip has its file there, such as '%s'; see archive.names", folder, candidates(rows[0])[0]
            )
    absent = (missing(job.folders, row) for row in rows if row["clip_id"] not in found)
    results = {row["clip_id"]: row for row in absent if row is not None}
    reader = Reader(job, archive, partial, journal, workers)
    with ThreadPoolExecutor(max(job.threads, 1)) as pool:
        futures = [pool.submit(reader.read, row, *found[row["clip_id"]]) for row in rows if row["clip_id"] in found]
        try:
            for future in progress(as_completed(futures), "own files", total=len(futures)):
                results[future.result()["clip_id"]] = future.result()
        finally:
            pool.shutdown(cancel_futures=True)
    return results


def candidates(row: Row) -> list[str]:
    """The paths in the folder under which a clip's file may lie."""
    return row.get("files") or [row["link"]]


def find(folders: list[Path], row: Row) -> tuple[Path, str] | None:
    """Folder and path in it of the first that is a file, links followed; what leads out of a folder is passed over."""
    for folder, name in itertools.product(folders, candidates(row)):
        place = PurePosixPath(name)
        if (
            name
            and not is_url(name)
            and not place.is_absolute()
            and ".." not in place.parts
            and is_there(folder / name)
        ):
            return folder, name
    return None


def is_there(path: Path) -> bool:
    """Whether there is a file; one that may not be looked at is, and reading it will tell."""
    try:
        return path.is_file()
    except PermissionError:
        return True
    except OSError:  # such as a name that is too long
        return False


def missing(folders: list[Path], row: Row) -> Row | None:
    """What became of a clip whose file is not there; None if it has a link."""
    if is_url(row["link"]):
        return None
    told = f"no file {' or '.join(candidates(row))} in {' or '.join(map(str, folders))}"
    return {"clip_id": row["clip_id"], "status": Status.UNAVAILABLE, "reason": Reason.NOT_FOUND, "detail": told}


class Reader:
    """Brings clips from folders into the store: links to what is whole, and what is cut; threads may share it."""

    def __init__(self, job: FetchClips, archive: Archive, partial: Path, journal: Journal, workers: Workers) -> None:
        self._several, self._store, self._settings = len(job.folders) > 1, job.store, job.download
        self._holds, self._partial, self._journal = archive.holds, partial, journal
        self._workers, self._bounds = workers, job.bounds
        self._sums = {} if archive.checksums is None else checksums(archive.checksums)
        (job.store / "checksums").mkdir(exist_ok=True)
        self._checked, self._checking = Journal(job.store / "checksums", job.shard), threading.Lock()

    def read(self, row: Row, folder: Path, name: str) -> Entry:
        """What became of a clip; as the journal has it, if file and question are still the same."""
        path = folder / name
        told = {"clip_id": row["clip_id"], "origin": str(path) if self._several else name, "attempts": 0}
        told["fetched_at"] = datetime.now(UTC).isoformat()
        try:
            stamp = self._stamp(path, told["origin"])
            sums = self._sums.get(name) or self._sums.get(path.name) or set()
            key = self._key(row, stamp, sums)
            before = self._journal.latest(row["clip_id"])
            if before and before["key"] == key and self._kept(before):
                return before
            self._check(path, stamp, sums)
            made = {**told, "key": key, **self._brought(path, row), "status": Status.OK, "reason": None, "detail": None}
        except ClipError as error:
            return {**told, "status": error.status, "reason": error.reason, "detail": error.detail}
        self._journal.add(made)
        return made

    def _kept(self, entry: Entry) -> bool:
        """Whether the store still holds what was read or cut."""
        return stored.intact(entry, self._store / entry["path"], entry["sha256"], self._journal)

    def _stamp(self, path: Path, origin: str) -> str:
        """What tells a file from a changed one; one that is empty or cannot be read is a `ClipError`."""
        try:
            with path.open("rb"):
                stat = path.stat()
        except OSError as error:
            raise ClipError(Status.FAILED, Reason.DECODE, f"cannot be read ({error.strerror})") from None
        if stat.st_size == 0:
            raise ClipError(Status.FAILED, Reason.DECODE, "the file is empty")
        return f"{origin} {stat.st_size} {stat.st_mtime_ns}"

    def _key(self, row: Row, stamp: str, sums: set[str]) -> str:
        """A hash of what decides the content of a clip, and whether it is well."""
        asked = (row["start"], row["end"], row.get("may_end_early"), self._holds, sorted(sums))
        chosen = (self._settings.streams, self._settings.tolerance)
        return hashlib.blake2b(repr((stamp, *asked, *chosen)).encode(), digest_size=8).hexdigest()

    def _check(self, path: Path, stamp: str, sums: set[str]) -> None:
        """Raises `ClipError` for a file that has another checksum than the list says."""
        if not sums:
            return
        found = [self._sum(path, stamp, algorithm) for algorithm in {ALGORITHMS[len(one)] for one in sums}]
        if not sums.intersection(found):
            raise ClipError(Status.FAILED, Reason.CHECKSUM, f"its checksum is {found[0]}, and the list says another")

    def _sum(self, path: Path, stamp: str, algorithm: str) -> str:
        """A file's checksum, as an earlier clip or run found it if the file is the same."""
        name = f"{algorithm} {stamp}"
        with self._checking:
            known = self._checked.latest(name)
            if known is None:
                found = stored.checksum(path, algorithm)
                known = {"clip_id": name, "key": found, "fetched_at": datetime.now(UTC).isoformat()}
                self._checked.remember(known)
        return str(known["key"])

    def _brought(self, path: Path, row: Row) -> Entry:
        """Path, length and checksum of a clip that is now in the store. Raises `ClipError`."""
        whole = self._holds == "clips" or (not row["start"] and row["end"] is None)
        with tempfile.TemporaryDirectory(dir=self._partial) as folder:
            if whole:
                file = Path(folder, f"clip{path.suffix}")
                file.symlink_to(path.resolve())
            else:
                shortest(dict.fromkeys(self._workers.call(streams, path, self._bounds), 0.0), self._settings)
                file = cut(path, row, self._settings, Path(folder))
            seconds = shortest(self._workers.call(measure, file, self._bounds), self._settings)
            if self._holds == "clips":
                check_cut_before(seconds, row, self._settings)
            else:
                check_length(seconds, row, self._settings, confirmed=True)
            place = f"files/{row['clip_id']}{file.suffix}"
            about = {"bytes": file.stat().st_size, "sha256": stored.checksum(file), "stamp": stored.stamp(file)}
            move(file, self._store / place)
        return {"path": place, "seconds": seconds, **about}


def check_cut_before(seconds: float, row: Row, settings: Download) -> None:
    """Raises `ClipError` if what somebody cut is longer than asked; who cut it knows why it is shorter."""
    wanted = asked(row)
    if wanted is not None and seconds > wanted + settings.tolerance:
        told = f"{seconds:.3f} s instead of {wanted:.3f} s; if it is a whole source, write archive.holds: sources"
        raise ClipError(Status.FAILED, Reason.CUT_FAILED, told)
    check_length(seconds, {**row, "end": None}, settings)


def cut(path: Path, row: Row, settings: Download, folder: Path) -> Path:
    """The asked section of a source, in a file of its own: FLAC where only sound is wanted, otherwise MP4 with FLAC.

    Raises `ClipError`, and `UserError` where the disk is full.
    """
    import imageio_ffmpeg

    codecs = {
        "audio": ["-map", "0:a:0", *SOUND, "-c:a", "flac", "-sample_fmt", "s16"],
        "video": ["-map", "0:V:0", "-c:v", "libx264"],
    }
    file = folder / "clip.mp4"
    if settings.streams == ("audio",):
        file = folder / "clip.flac"
    start, seconds = row["start"] or 0.0, asked(row)
    lead = min(start, RUN_UP)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-loglevel", "error"]
    if start > lead:
        command += ["-ss", f"{start - lead:.6f}"]
    command += ["-i", str(path.resolve()), "-ss", f"{lead:.6f}"]  # an absolute path is never an option, or a protocol
    command += [] if seconds is None else ["-t", f"{seconds:.6f}"]
    for stream in settings.streams:
        command += codecs[stream]
    command += [*ONE_THREAD, "-preset", "ultrafast"] if "video" in settings.streams else []
    done = subprocess.run([*command, str(file)], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == FFMPEG_FULL:
        raise UserError("clips cannot be stored: no space left on device; make room and run again")
    if done.returncode or not file.exists():
        said = (done.stderr.strip().splitlines() or [f"ffmpeg exited with code {done.returncode}"])[-1]
        raise ClipError(Status.FAILED, Reason.CUT_FAILED, said[:300])
    return file


def checksums(path: Path) -> dict[str, set[str]]:
    """The checksums of each file in a list, in lower case, by its path as listed and by its name alone.

    A file may have several, as where a publisher mended some. A list that is none is a `UserError`.
    """
    found: dict[str, set[str]] = {}
    for number, line in enumerate(read_lines(path), 1):
        match = CHECKSUM.fullmatch(line.strip())
        if match:
            name = (match[2] or match[3]).strip().removeprefix("./")
            for known in {name, PurePosixPath(name).name}:
                found.setdefault(known, set()).add(match[1].lower())
        elif number > 1 and line.strip() and not line.startswith("#"):  # the first may be a header
            raise UserError(f"{path}, line {number}: expected a checksum (MD5, SHA-1 or SHA-256) and a file's name")
    if not found:
        raise UserError(f"{path}: holds no checksums; expected lines of a checksum and a file's name")
    return found
