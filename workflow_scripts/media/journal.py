"""The journal of downloads: one line for every finished clip, so that a killed job asks for none of them again."""

from collections.abc import Set
from pathlib import Path
from typing import Any

from workflow_scripts.files import JsonLines, read_json_lines
from workflow_scripts.shards import Reason, Status

Entry = dict[str, Any]  # with `clip_id`, `fetched_at` and `key` at least
NAMED = ("clip_id", "fetched_at", "key")
STATES, REASONS = set(map(str, Status)), {*map(str, Reason), None}


class Journal(JsonLines):
    """A file of a shard's own to append to; all the store's journals are read, so shards may be recut.

    An entry of `ok` has the `needed` keys. What another version of this project wrote otherwise is passed over, and
    its clip asked for again.
    """

    def __init__(self, store: Path, shard: int, needed: Set[str] = frozenset()) -> None:
        super().__init__(store / f"journal-{shard}.jsonl")
        read = (read_json_lines(path, set(NAMED)) for path in store.glob("journal-*.jsonl"))
        lines = [entry for entries in read for entry in entries if understood(entry, needed)]
        lines.sort(key=lambda entry: entry["fetched_at"])
        self._latest: dict[str, Entry] = {entry["clip_id"]: entry for entry in lines}

    def latest(self, clip_id: str) -> Entry | None:
        """What became of a clip when it was last asked for."""
        return self._latest.get(clip_id)

    def remember(self, entry: Entry) -> None:
        """Adds an entry that `latest` knows from now on."""
        self.add(entry)
        self._latest[entry["clip_id"]] = entry


def understood(entry: Entry, needed: Set[str]) -> bool:
    """Whether an entry is what this version writes."""
    if not all(isinstance(entry[name], str) for name in NAMED):
        return False
    if "status" not in entry:  # it is of a file, not of a clip
        return True
    state = [entry.get(name, "") for name in ("status", "reason", "detail")]
    if not all(isinstance(part, str | None) for part in state) or state[0] not in STATES or state[1] not in REASONS:
        return False
    return state[0] != Status.OK or needed <= entry.keys()
