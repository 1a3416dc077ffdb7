"""Journals that another version of the project wrote: what is understood is used, the rest is asked for again."""

import json
from pathlib import Path
from typing import Any

import pytest

from workflow_scripts.media.journal import Journal

NOW = {"clip_id": "a", "fetched_at": "2026-11-01T00:00:00", "key": "k", "status": "ok", "reason": None, "detail": None}
NOW |= {"path": "files/a.mp4", "bytes": 3, "attempts": 1}


@pytest.mark.parametrize(
    ("change", "understood"),
    [
        ({}, True),
        ({"a_new_key": [1]}, True),
        ({"status": "unavailable", "reason": "private"}, True),
        ({"status": "done"}, False),
        ({"status": "failed", "reason": "a_new_reason"}, False),
        ({"status": ["ok"]}, False),
        ({"fetched_at": 1793491200}, False),
        ({"clip_id": ["a"]}, False),
        ({"path": ...}, False),
        ({"reason": ...}, False),
    ],
)
def test_what_another_version_wrote(change: dict[str, Any], understood: bool, tmp_path: Path) -> None:
    older = {**NOW, "fetched_at": "2026-10-01T00:00:00", "clip_id": "b"}
    other = {name: value for name, value in {**NOW, **change}.items() if value is not ...}
    (tmp_path / "journal-0.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in (other, older)))
    journal = Journal(tmp_path, 0, {"path", "bytes"})
    assert journal.latest("a") == (other if understood else None)
    assert journal.latest("b") == older
