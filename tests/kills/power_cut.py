"""What a power cut would take from a project. As a project's `sitecustomize.py` it notes what reaches the disk.

Every Python process of a run then notes its `fsync`s and renames in `.kills/`. `cut` takes back, by a seeded coin, what
no `fsync` came after: the bytes of a file beyond those that were synced, and a rename whose folder was not synced.
SQLite's files are left alone: it syncs them without Python. So are deletions, which nothing here relies on.
"""

import json
import os
import random
import time
from pathlib import Path
from typing import Any

FOLDER = ".kills"


def watch(project: Path) -> None:
    """Notes the syncs and renames of this process from now on."""
    notes, kept = project / FOLDER / "notes.jsonl", project / FOLDER / "kept"
    kept.mkdir(parents=True, exist_ok=True)
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    fsync, everything, count = os.fsync, os.sync, iter(range(1 << 62))

    def note(**about: Any) -> None:
        os.write(file, f"{json.dumps(about)}\n".encode())

    def sync(descriptor: Any) -> None:
        at, number = time.time_ns(), descriptor if isinstance(descriptor, int) else descriptor.fileno()
        fsync(number)
        status = os.fstat(number)
        note(synced=status.st_ino, bytes=status.st_size, at=at)

    def noting(move: Any) -> Any:
        def noted(source: Any, target: Any, **options: Any) -> None:
            old = kept / f"{os.getpid()}-{next(count)}"
            try:
                os.link(target, old, follow_symlinks=False)
            except OSError:  # there was none, or it is a folder
                old = None
            move(source, target, **options)
            before, now = (Path(os.fsdecode(place)).absolute() for place in (source, target))
            inode, folder = now.lstat().st_ino, now.parent.stat().st_ino
            note(moved=[str(before), str(now)], inode=inode, folder=folder, kept=old and str(old))

        return noted

    def sync_all() -> None:
        at = time.time_ns()
        everything()
        note(synced="all", at=at)

    os.fsync, os.fdatasync, os.sync = sync, sync, sync_all
    os.replace, os.rename = noting(os.replace), noting(os.rename)


def cut(project: Path, since: int, coin: random.Random) -> list[str]:
    """Takes back what had not reached the disk since a time (in ns); tells what, by paths in the project."""
    notes = [json.loads(line) for line in (project / FOLDER / "notes.jsonl").read_text().splitlines()]
    synced = {note["synced"]: note for note in notes if "synced" in note}
    lost, folders = [], set()
    for note in reversed(notes):
        folders.add(note.get("synced"))
        if "moved" not in note or folders & {note["folder"], "all"} or coin.random() < 0.5:
            continue
        source, target = map(Path, note["moved"])
        if not target.is_relative_to(project):
            continue
        if target.exists() and target.lstat().st_ino == note["inode"] and source.parent.is_dir():
            target.rename(source)
            if note["kept"]:
                Path(note["kept"]).rename(target)
            lost.append(f"the name {target.relative_to(project)}")
    for place, inner, names in os.walk(project):
        inner[:] = sorted(set(inner) - {FOLDER})
        for path in (Path(place, name) for name in sorted(names)):
            status = path.lstat()
            last = synced.get(status.st_ino, {"bytes": 0, "at": since})
            kept = min(last["bytes"], status.st_size)
            changed = status.st_mtime_ns > max(last["at"], synced.get("all", last)["at"]) and status.st_size > kept
            if path.is_symlink() or ".db" in path.name or not changed or coin.random() < 0.3:
                continue
            left = coin.choice([kept, coin.randrange(kept, status.st_size)])
            os.truncate(path, left)
            lost.append(f"{status.st_size - left} bytes of {path.relative_to(project)}")
    return lost


if __name__ == "sitecustomize":
    watch(Path(__file__).parent)
