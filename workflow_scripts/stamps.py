"""Stamps: what a result was made from, so that what has not changed is not made again.

Beside each output `X` of an expensive job lies `.X.stamp`: the job's key, which is a hash of its identity and of the
contents of its inputs, and the content of the output. Times of modification do not count.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.errors import UserError
from workflow_scripts.files import read_json
from workflow_scripts.jobs import Job
from workflow_scripts.settings.base import digest
from workflow_scripts.shards import atomic


def current(outputs: Sequence[Path], key: str) -> bool:
    """Whether all outputs are there, whole, and made by a job with this key that left nothing `unfinished` beside."""
    if any(unfinished(path).exists() for path in outputs):
        return False
    found = [read(path) for path in outputs]
    return all(stamp is not None and stamp["key"] == key for stamp in found)


def stamp(outputs: Sequence[Path], key: str) -> None:
    """Notes what finished outputs were made from."""
    for path in outputs:
        note(path, key)


def key(job: Job) -> str:
    """A hash of a job's identity and of the contents of its inputs."""
    return digest(
        [job.identity(), {name: [content(Path(path)) for path in paths] for name, paths in job.inputs().items()}]
    )


def content(path: Path) -> str:
    """A hash of a file's content; that in its stamp where there is one that is right."""
    found = read(path)
    return found["content"] if found else hashed(path)


def read(path: Path) -> dict[str, Any] | None:
    """The stamp of a file, if it has one and is what was stamped."""
    try:
        found: dict[str, Any] = read_json(place(path))
        status = path.stat()
    except (OSError, UserError):
        return None
    if not isinstance(found, dict) or not found.keys() >= {"key", "bytes", "modified", "content"}:
        return None
    if found["bytes"] != status.st_size:
        return None
    if found["modified"] != status.st_mtime_ns:
        if hashed(path) != found["content"]:
            return None
        note(path, found["key"])  # only the time has changed, by a copy for example
    return found


def note(path: Path, key: str) -> None:
    status = path.stat()
    about = {"key": key, "bytes": status.st_size, "modified": status.st_mtime_ns, "content": hashed(path)}
    with atomic(place(path)) as temporary:
        temporary.write_text(json.dumps(about), encoding="utf-8")


def unfinished(path: Path) -> Path:
    """Where a job leaves what it has made of an output, if something is still to be tried again."""
    return path.with_name(f"unfinished-{path.name}")


def place(path: Path) -> Path:
    return path.with_name(f".{path.name}.stamp")


def hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
