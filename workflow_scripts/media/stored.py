"""Files in a store: whether what lies there is what was fetched, and who is at work there."""

import contextlib
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

import filelock

from workflow_scripts.errors import UserError
from workflow_scripts.media.journal import Entry, Journal
from workflow_scripts.shards import ClipError, Reason, Row, Status

log = logging.getLogger(__name__)


def stamp(path: Path) -> str:
    """What tells a file from one that was changed or exchanged since: its size, date and inode."""
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def checksum(path: Path, algorithm: str = "sha256") -> str:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return found.hexdigest()


def check(path: Path, row: Row, algorithm: str = "sha256") -> None:
    """Raises `ClipError` (missing_file, damaged_file) unless a file is the one of a ledger's row, to the last bit.

    Both are ours, not the source's: fetching brings the file again.
    """
    try:
        found = checksum(path, algorithm)
    except OSError as error:
        raise ClipError(Status.FAILED, Reason.MISSING, f"{path} cannot be read ({error.strerror})") from None
    if row.get(algorithm) not in {None, found}:
        raise ClipError(Status.FAILED, Reason.DAMAGED, f"{path} is not what was fetched")


def intact(entry: Entry, path: Path, wanted: str, journal: Journal, algorithm: str = "sha256") -> bool:
    """Whether a file is still what its journal entry tells, with the checksum `wanted`.

    It is read only if its size, date or inode changed since it was last looked at, which the journal then remembers.
    """
    try:
        now = stamp(path)
        if entry.get("stamp") == now:
            return True
        if entry["bytes"] != path.stat().st_size or checksum(path, algorithm) != wanted:
            log.warning("%s is not what was fetched, and is fetched again", path)
            return False
    except OSError:
        log.warning("%s is not there any more, and is fetched again", path)
        return False
    journal.remember({**entry, "stamp": now})
    return True


@contextlib.contextmanager
def alone(store: Path, shard: int) -> Iterator[None]:
    """Inside, no other process fetches this shard into this store; waits for one that does, and goes on after it.

    A store that may not be written, such as another user's, is a `UserError`.
    """
    try:
        store.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(store / f"fetching-{shard}.lock", mode=0o666)
        lock.acquire(timeout=0)
    except filelock.Timeout:
        log.info("%s: another process fetches shard %d: waiting for it", store, shard)
        lock.acquire()
    except OSError as error:
        raise UserError(
            f"{store}: cannot be written ({error.strerror}); if it is another user's, take another work_dir"
        ) from None
    try:
        yield
    finally:
        lock.release()
