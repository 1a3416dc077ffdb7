"""What has its name, or is said to be finished, would outlive a power cut (whole runs: tests/kills)."""

import os
import zipfile
from pathlib import Path

import pytest

from workflow_scripts.assets.unpack import unpack
from workflow_scripts.shards import atomic, move
from workflow_scripts.tracking.store import on_the_disk


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, list[str]]]:
    """The inodes of what was synced, in turn, each with the names that its folder, or itself, then had."""
    found: list[tuple[int, list[str]]] = []

    def sync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        names = sorted(each.name for each in (path if path.is_dir() else path.parent).iterdir())
        found.append((os.fstat(descriptor).st_ino, names))

    monkeypatch.setattr(os, "fsync", sync)
    return found


def test_a_file_is_synced_before_it_has_its_name_and_its_folder_afterwards(
    synced: list[tuple[int, list[str]]], tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "clip").write_text("x")
    move(tmp_path / "clip", tmp_path / "store" / "a.mp4")
    file, folder = (tmp_path / "store" / "a.mp4").stat().st_ino, (tmp_path / "store").stat().st_ino
    assert synced == [(file, ["clip", "store"]), (folder, ["a.mp4"])]
    with atomic(tmp_path / "store" / "b.json") as temporary:
        temporary.write_text("y")
    assert synced[2][0] == (tmp_path / "store" / "b.json").stat().st_ino and "b.json" not in synced[2][1]
    assert synced[3] == (folder, ["a.mp4", "b.json"])


def test_unpacked_files_are_synced_before_their_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("a.wav", b"x")
    seen: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: seen.append((tmp_path / "files").exists()))
    unpack({"a": tmp_path / "a.zip"}, tmp_path / "files")
    assert seen == [False] and (tmp_path / "files" / "a.wav").exists()


def test_artifacts_of_a_local_store_are_synced(synced: list[tuple[int, list[str]]], tmp_path: Path) -> None:
    place = tmp_path / "it's a store"
    place.mkdir()
    (place / "table.csv").write_text("x")
    on_the_disk(place.as_uri())
    assert {path.stat().st_ino for path in (place, place / "table.csv")} <= {inode for inode, _ in synced}
    on_the_disk("mlflow-artifacts:/1/2")  # a server keeps its own
