"""Fetched files that were damaged or lost since: noticed, told as ours, and fetched again; and two fetchers at once."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
from media_files import tone
from record_files import Publisher

from workflow_scripts.corpora.annotate import MANIFEST, manifest
from workflow_scripts.errors import UserError
from workflow_scripts.media import server
from workflow_scripts.media.plan import DecodeAudio, FetchClips
from workflow_scripts.shards import Row, read, write

NAMES = ["a", "b", "c"]


class Site(server.Handler):
    """Counts what is asked for."""

    asked: Counter[str]

    def answer(self, body: bool) -> None:
        self.asked[Path(self.path).stem] += 1
        super().answer(body)


class Clips:
    """Three sounds of a site, fetched into a store and decoded."""

    def __init__(self, folder: Path, base: str, asked: Counter[str]) -> None:
        self.folder, self.store, self.asked = folder, folder / "store", asked
        self.ledger, self.sound = self.store / "clips/0.parquet", folder / "0.parquet"
        rows = [{"clip_id": n, "video_id": n, "start": 0.0, "end": None, "split": "train"} for n in NAMES]
        write(folder / "m.parquet", manifest(lambda: rows, f"{base}{{video_id}}.wav"), MANIFEST)

    def fetch(self) -> dict[str, Row]:
        """The ledger; what was asked for now is in `asked`."""
        self.asked.clear()
        download = {"streams": ["audio"], "videos_per_hour": None, "retry_wait": 0.01}
        FetchClips(manifest=self.folder / "m.parquet", store=self.store, download=download).run(self.ledger)
        return {row["clip_id"]: row for row in read(self.ledger)}

    def decode(self) -> list[str]:
        audio = {"sample_rate": 8000, "clip_seconds": 1}
        DecodeAudio(clips=self.ledger, store=self.store, audio=audio).run(self.sound)
        return [row["status"] for row in read(self.sound)]


@pytest.fixture
def clips(tmp_path: Path) -> Iterator[Clips]:
    (tmp_path / "site").mkdir()
    for name in NAMES:
        soundfile.write(tmp_path / f"site/{name}.wav", tone(1, 8000), 8000)
    asked = Counter[str]()
    with server.serve(tmp_path / "site", type("CountingSite", (Site,), {"asked": asked})) as base:
        yield Clips(tmp_path, base, asked)


def flip(path: Path) -> None:
    """Another bit in the middle, by a file that takes the place of the first."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def flip_in_secret(path: Path) -> None:
    """As a disk that forgets: size, date and inode stay."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(before.st_size // 2)
        byte = file.read(1)[0]
        file.seek(before.st_size // 2)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def of_the_same_date(path: Path) -> None:
    """Zeros in a new file of the same size and date."""
    before = path.stat()
    other = path.with_suffix(".other")
    other.write_bytes(bytes(before.st_size))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


DAMAGES = [flip, zero, of_the_same_date, Path.unlink, lambda path: path.write_bytes(b"cut off")]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_file_is_fetched_again(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    publisher = Publisher(tmp_path)
    first = publisher.fetch()
    path = publisher.store / first["trainAA.tfrecord"]["path"]
    content = path.read_bytes()
    publisher.asked.clear()
    path.touch()
    assert publisher.fetch() == first and not publisher.asked["trainAA.tfrecord"], "only its date has changed"
    damage(path)
    assert publisher.fetch()["trainAA.tfrecord"]["status"] == "ok"
    assert path.read_bytes() == content
    assert (publisher.asked["trainAA.tfrecord"], publisher.asked["trainBb.tfrecord"]) == (1, 0)


@pytest.mark.parametrize("damage", [flip_in_secret, *DAMAGES])
def test_a_damaged_clip_is_ours_and_is_fetched_again(clips: Clips, damage: Callable[[Path], Any]) -> None:
    whole = clips.fetch()
    path = clips.store / whole["b"]["path"]
    content = path.read_bytes()
    damage(path)
    with pytest.raises(UserError, match=r"sound: 1 of 3 clips failed \(.*'b' \(.*b\.wav.* -R fetch_clips") as caught:
        clips.decode()
    reason = "missing_file" if damage is Path.unlink else "damaged_file"
    assert f"({reason} 1)" in str(caught.value)
    assert not clips.sound.exists()
    if damage is flip_in_secret:  # which nothing but reading finds
        assert clips.fetch() == whole and not clips.asked
        verify = [sys.executable, "-m", "workflow_scripts.media.verify", str(clips.folder)]
        done = subprocess.run(verify, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "1 of 3 files are missing or damaged" in done.stderr and "-R fetch_clips" in done.stderr
    clips.fetch()
    assert set(clips.asked) == {"b"}
    assert path.read_bytes() == content
    assert clips.decode() == ["ok"] * 3
    assert not list(clips.folder.glob("unfinished*"))


def test_all_that_was_fetched_can_be_verified(clips: Clips, tmp_path: Path) -> None:
    clips.fetch()
    publisher = Publisher(tmp_path)
    record = publisher.store / publisher.fetch()["trainAA.tfrecord"]["path"]
    verify = [sys.executable, "-m", "workflow_scripts.media.verify", str(tmp_path)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}: 6 files, all as they were fetched\n")
    flip_in_secret(record)
    (clips.store / "files/a.wav").unlink()
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "2 of 6 files are missing or damaged" in done.stderr
    assert "-R fetch_clips fetch_records fetches these again" in done.stderr
    publisher.asked.clear()
    assert publisher.fetch() and publisher.asked["trainAA.tfrecord"] == 1
    assert clips.fetch() and set(clips.asked) == {"a"}


def test_what_was_cut_out_of_an_own_file_is_cut_again(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    soundfile.write(tmp_path / "media/a.wav", tone(3, 8000), 8000)
    rows = [{"clip_id": "cut", "video_id": "a", "start": 1.0, "end": 2.0, "split": "train"}]
    names = ["{video_id}.wav"]
    write(tmp_path / "m.parquet", manifest(lambda: rows, None, names=names), MANIFEST)
    own = {"folder": tmp_path / "media", "archive": {"folder": "media", "names": names}}
    job = FetchClips(manifest=tmp_path / "m.parquet", store=tmp_path / "s", download={"streams": ["audio"]}, **own)
    job.run(tmp_path / "s/clips/0.parquet")
    path = tmp_path / "s/files/cut.flac"
    content = path.read_bytes()
    zero(path)
    job.run(tmp_path / "s/clips/0.parquet")
    assert path.read_bytes() == content


def test_two_fetchers_of_one_store_do_not_disturb_each_other(clips: Clips) -> None:
    """The second waits, and then finds all that the first got."""
    call = [sys.executable, "-m", "workflow_scripts.media.fetch", "--manifest", str(clips.folder / "m.parquet")]
    call += ["--store", str(clips.store), "--definition", '{"streams": ["audio"], "videos_per_hour": 7200}']
    outputs = [clips.folder / f"{number}.parquet" for number in (1, 2)]
    jobs = [subprocess.Popen([*call, "--output", str(output)], stderr=subprocess.PIPE, text=True) for output in outputs]
    said = [job.communicate()[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], said
    first, second = (list(read(output)) for output in outputs)
    assert first == second
    assert [row["status"] for row in first] == ["ok"] * 3
    assert [clips.asked[name] for name in NAMES] == [clips.asked["a"]] * 3
    assert sorted(row["attempts"] for row in first) == [1] * 3
    assert sum("waiting for it" in text for text in said) == 1
