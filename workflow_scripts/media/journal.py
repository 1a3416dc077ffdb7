"""The journal of downloads: one line for every finished clip, so that a killed job asks for none of them again."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Journal:
    """An append-only file of JSON lines, one per shard; all the store's journals are read, so shards may be recut."""

    def __init__(self, store: Path, shard: int) -> None:
        self._path = store / f"journal-{shard}.jsonl"
        self._lock = threading.Lock()
        lines = [entry for path in store.glob("journal-*.jsonl") for entry in entries(path)]
        lines.sort(key=lambda entry: entry["fetched_at"])
        self._latest = {entry["clip_id"]: entry for entry in lines}
        if self._path.exists() and not self._path.read_bytes().endswith(b"\n"):
            self._write("\n")  # the line that a killed job left unfinished ends here

    def latest(self, clip_id: str) -> Entry | None:
        """What became of a clip when it was last asked for."""
        return self._latest.get(clip_id)

    def add(self, entry: Entry) -> None:
        """Appends one finished clip (`clip_id` and `fetched_at` at least)."""
        self._write(json.dumps(entry) + "\n")

    def _write(self, text: str) -> None:
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(text)


def entries(path: Path) -> Iterator[Entry]:
    """The readable lines of a journal; a torn one is passed over, its clip is asked again."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and {"clip_id", "fetched_at", "key"} <= entry.keys():
            yield entry
