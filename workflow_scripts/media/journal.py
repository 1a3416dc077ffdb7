"""The journal of downloads: one line for every finished clip, so that a killed job asks for none of them again."""

from pathlib import Path
from typing import Any

from workflow_scripts.files import JsonLines, read_json_lines

Entry = dict[str, Any]  # with `clip_id`, `fetched_at` and `key` at least


class Journal(JsonLines):
    """A file of a shard's own to append to; all the store's journals are read, so shards may be recut."""

    def __init__(self, store: Path, shard: int) -> None:
        super().__init__(store / f"journal-{shard}.jsonl")
        read = (read_json_lines(path, {"clip_id", "fetched_at", "key"}) for path in store.glob("journal-*.jsonl"))
        lines = sorted((entry for entries in read for entry in entries), key=lambda entry: entry["fetched_at"])
        self._latest: dict[str, Entry] = {entry["clip_id"]: entry for entry in lines}

    def latest(self, clip_id: str) -> Entry | None:
        """What became of a clip when it was last asked for."""
        return self._latest.get(clip_id)

    def remember(self, entry: Entry) -> None:
        """Adds an entry that `latest` knows from now on."""
        self.add(entry)
        self._latest[entry["clip_id"]] = entry
