"""Several folders of media that somebody has, beside a link."""

from pathlib import Path
from typing import Any

import pytest
import soundfile
from media_files import tone

from workflow_scripts.corpora.annotate import MANIFEST, manifest
from workflow_scripts.errors import UserError
from workflow_scripts.media import server
from workflow_scripts.media.plan import FetchClips
from workflow_scripts.settings.archive import Archive
from workflow_scripts.shards import Row, read, write

FAST = {"streams": ["audio"], "videos_per_hour": None, "retries": 0, "retry_wait": 0.01}


def sound(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(seconds, 16_000), 16_000)


def fetch(folder: Path, archive: dict[str, Any], link: str | None, *names: str) -> dict[str, Row]:
    def clips() -> list[Row]:
        return [{"clip_id": name, "video_id": name, "start": 0.0, "end": None, "split": "train"} for name in names]

    archive = {"names": ["{video_id}.wav", "more/{video_id}.wav"], **archive}
    write(folder / "m.parquet", manifest(clips, link, names=archive["names"]), MANIFEST)
    store = folder / "store"
    FetchClips(manifest=folder / "m.parquet", archive=archive, store=store, download=FAST).run(folder / "out.parquet")
    return {row["clip_id"]: row for row in read(folder / "out.parquet")}


def test_folders_are_looked_through_in_order_and_before_the_link(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second, site = tmp_path / "disk1", tmp_path / "disk2", tmp_path / "site"
    sound(first / "more/both.wav", 1)
    sound(second / "both.wav", 2)
    sound(second / "second.wav", 3)
    sound(site / "linked.wav", 4)
    (tmp_path / "empty").mkdir()
    folders = [str(first), str(second), str(tmp_path / "empty")]
    with server.serve(site) as base:
        rows = fetch(tmp_path, {"folder": folders}, f"{base}{{video_id}}.wav", "both", "second", "linked")
        assert [(row["status"], round(row["seconds"])) for row in rows.values()] == [("ok", 1), ("ok", 3), ("ok", 4)]
        assert [row["origin"] for row in rows.values()] == [
            f"{first}/more/both.wav",
            f"{second}/second.wav",
            f"{base}linked.wav",
        ]
    assert f"{tmp_path / 'empty'}: no clip has its file there" in caplog.text
    (first / "more/both.wav").unlink()
    rows = fetch(tmp_path, {"folder": folders}, None, "both", "absent")
    assert (rows["both"]["origin"], round(rows["both"]["seconds"])) == (f"{second}/both.wav", 2)
    assert rows["absent"]["reason"] == "not_found"
    assert rows["absent"]["detail"].endswith(f"in {' or '.join(folders)}")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the archive's folder .*/absent is not there"):
        fetch(tmp_path, {"folder": [str(tmp_path), str(tmp_path / "absent")]}, None, "a")
    for folders, said in ([], "folder"), (["a", "a"], "every folder may stand once"):
        with pytest.raises(UserError, match=said):
            Archive.check({"folder": folders}, "archive")


def test_one_folder_is_the_same_as_ever() -> None:
    """Neither identity nor origins of a corpus with one folder change."""
    assert Archive.check({"folder": "data"}, "archive").identity()["folder"] == "data"
