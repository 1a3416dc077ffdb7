"""Packed archives of source files: unpacked whole, to the letter, and nowhere else."""

import io
import json
import logging
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import py7zr
import pytest
import soundfile
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from media_files import tone
from projects import copied

from workflow_scripts.assets import unpack as module
from workflow_scripts.assets.fetch import digest
from workflow_scripts.assets.plan import UnpackArchives
from workflow_scripts.assets.unpack import unpack
from workflow_scripts.errors import UserError
from workflow_scripts.media.plan import fetch_clips
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.corpora import Corpus
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import read

ROOT = Path(__file__).parent.parent
KINDS = ["7z", "zip", "tar", "tar.gz"]
ODD_NAMES = [" walk (take 2), 7.wav", "Küche & 50% Garten.wav", "it's late... #1?.wav", "trailing .wav ", "-rf.wav"]


def pack(path: Path, members: Mapping[str, bytes]) -> Path:
    """An archive of the kind that its suffix says, with members of any name."""
    if path.suffix == ".7z":
        with py7zr.SevenZipFile(path, "w") as seven:
            for number, content in enumerate(members.values()):
                seven.writestr(content, f"{number}")
            for entry, name in zip(seven.header.files_info.files, members, strict=True):
                entry["filename"] = name  # the library would not write an evil one
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            for name, content in members.items():
                packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
            for name, content in members.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return path


def pack_link(path: Path, target: Path) -> Path:
    """An archive with one file, and a symbolic link to another one."""
    link = path.parent / "link"
    link.symlink_to(target)
    if path.suffix == ".7z":
        with py7zr.SevenZipFile(path, "w") as seven:
            seven.write(target, "a.wav")
            seven.write(link, "link")
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("a.wav", b"x")
            entry = zipfile.ZipInfo("link")
            entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            packed.writestr(entry, str(target))
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
            tar.addfile(tarfile.TarInfo("a.wav"))
            tar.add(link, "link")
    return path


def held(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_all_files_come_with_their_names(kind: str, tmp_path: Path) -> None:
    members = {f"development/{name}": name.encode() * 9 for name in ODD_NAMES} | {"empty.txt": b""}
    # What it is says its content: the file may have any name.
    archive = pack(tmp_path / f"archive.{kind}", members).rename(tmp_path / "download")
    found = unpack({"sounds": archive}, tmp_path / "files")
    assert held(tmp_path / "files") == members
    assert found == {"sounds": {"files": 6, "bytes": sum(map(len, members.values()))}}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["download", "files"]


letters = st.characters(codec="utf-8", exclude_characters="/\\\0")
plain_names = st.lists(
    st.text(letters, min_size=1, max_size=12).map("{}.x".format),  # neither . nor ..
    min_size=1,
    max_size=4,
    unique=True,
)


@settings(max_examples=25)
@given(names=plain_names, kind=st.sampled_from(KINDS))
def test_any_name_is_kept(names: list[str], kind: str) -> None:
    members = {f"folder/{name}": name.encode() for name in names}
    with TemporaryDirectory() as place:
        unpack({"sounds": pack(Path(place, f"archive.{kind}"), members)}, Path(place, "files"))
        assert held(Path(place, "files")) == members


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("evil", ["../evil.wav", "a/../../evil.wav", "/{place}/evil.wav", "a/.."])
def test_nothing_is_written_elsewhere(kind: str, evil: str, tmp_path: Path) -> None:
    name = evil.format(place=str(tmp_path).strip("/"))
    archive = pack(tmp_path / f"archive.{kind}", {"good.wav": b"x", name: b"evil"})
    with pytest.raises(UserError, match=r"archive\..*'.*' leads out of the folder"):
        unpack({"sounds": archive}, tmp_path / "deep" / "files")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [archive.name]


@pytest.mark.parametrize("kind", KINDS)
def test_links_are_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    archive = pack_link(tmp_path / f"archive.{kind}", tmp_path / "secret")
    with pytest.raises(UserError, match="'link' is a link or a device"):
        unpack({"sounds": archive}, tmp_path / "files")
    assert not (tmp_path / "files").exists()


@pytest.mark.parametrize("type_", [tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_hard_links_and_devices_are_refused(type_: bytes, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "archive.tar", "w") as tar:
        entry = tarfile.TarInfo("thing")
        entry.type, entry.linkname = type_, "/etc/passwd"
        tar.addfile(entry)
    with pytest.raises(UserError, match="'thing' is a link or a device"):
        unpack({"sounds": tmp_path / "archive.tar"}, tmp_path / "files")


@pytest.mark.parametrize("kind", KINDS)
def test_archives_fill_one_folder_and_share_no_file(kind: str, tmp_path: Path) -> None:
    first = pack(tmp_path / f"first.{kind}", {"a/1.wav": b"1"})
    second = pack(tmp_path / f"second.{kind}", {"a/2.wav": b"2", "b/1.wav": b"3"})
    unpack({"first": first, "second": second}, tmp_path / "files")
    assert held(tmp_path / "files") == {"a/1.wav": b"1", "a/2.wav": b"2", "b/1.wav": b"3"}
    third = pack(tmp_path / f"third.{kind}", {"./a//1.wav" if kind != "7z" else "a/1.wav": b"other"})
    with pytest.raises(UserError, match=r"third.*1\.wav' is there twice"):
        unpack({"first": first, "third": third}, tmp_path / "files")


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_can_be_honest_is_refused(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / f"archive.{kind}", {"zeros": bytes(3_000_000)})
    assert unpack({"sounds": archive}, tmp_path / "files")["sounds"]["bytes"] == 3_000_000  # little enough in any case
    monkeypatch.setattr(module, "ALWAYS", 1_000_000)
    if kind == "tar":  # is as big as what it holds
        unpack({"sounds": archive}, tmp_path / "files")
        return
    with pytest.raises(UserError, match="claims to hold"):
        unpack({"sounds": archive}, tmp_path / "files")
    assert not (tmp_path / "files").exists()


def test_a_full_disk_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "archive.zip", {"a": bytes(2000)})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9000, 8000, 1000))
    with pytest.raises(UserError, match=r"needs 0\.0 GB, and 0\.0 GB are free"):
        unpack({"sounds": archive}, tmp_path / "files")
    assert list(tmp_path.iterdir()) == [archive]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_archive_leaves_nothing(kind: str, damage: str, tmp_path: Path) -> None:
    if (kind, damage) == ("tar", "changed"):
        pytest.skip("a plain tar has no checksum of its contents; the asset has")
    archive = pack(tmp_path / f"archive.{kind}", {f"{number}.wav": os.urandom(60_000) for number in range(3)})
    content = bytearray(archive.read_bytes())
    if damage == "cut":
        del content[100_000:]
    else:
        content[90_000] ^= 255
    archive.write_bytes(content)
    with pytest.raises(UserError, match=r"archive\.\S+: (cannot be unpacked|neither a 7z)"):
        unpack({"sounds": archive}, tmp_path / "files")
    assert list(tmp_path.iterdir()) == [archive]


def test_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>sign in")
    with pytest.raises(UserError, match=r"page\.html: neither a 7z, nor a zip, nor a tar archive"):
        unpack({"sounds": tmp_path / "page.html"}, tmp_path / "files")


def test_a_password_is_told(tmp_path: Path) -> None:
    with py7zr.SevenZipFile(tmp_path / "archive.7z", "w", password="secret") as seven:  # noqa: S106 - of an archive of the test
        seven.writestr(b"x", "a.wav")
    with pytest.raises(UserError, match=r"archive\.7z: cannot be unpacked .Password"):
        unpack({"sounds": tmp_path / "archive.7z"}, tmp_path / "files")


def test_modes_are_not_taken_over(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "archive.tar", "w") as tar:
        for name, type_, mode in (("closed", tarfile.DIRTYPE, 0o700), ("closed/run", tarfile.REGTYPE, 0o4755)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = type_, mode
            tar.addfile(entry)
    unpack({"sounds": tmp_path / "archive.tar"}, tmp_path / "files")
    modes = [stat.S_IMODE((tmp_path / "files" / name).stat().st_mode) for name in ("closed", "closed/run")]
    assert modes == [0o755, 0o644]


def test_a_killed_job_leaves_nothing_that_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    members = {f"{number}.wav": f"{number}".encode() * 99 for number in range(800)}
    archive = pack(tmp_path / "archive.7z", members)
    folder, output = tmp_path / "files", tmp_path / "unpacked.json"
    job = UnpackArchives(archives={"sounds": archive}, folder=folder)
    process = multiprocessing.get_context("spawn").Process(target=job.run, args=(output,), daemon=True)
    process.start()
    deadline = time.monotonic() + 30
    while not any((tmp_path / ".files.part").glob("*.wav")):
        assert time.monotonic() < deadline and process.is_alive()
    process.kill()
    process.join()
    assert not folder.exists() and not output.exists()
    with caplog.at_level(logging.INFO):
        job.run(output)
    assert "archive.7z: 800 files" in caplog.text
    assert held(folder) == members
    assert json.loads(output.read_text()) == {"sounds": {"files": 800, "bytes": sum(map(len, members.values()))}}
    assert not (tmp_path / ".files.part").exists()


# ---- of a corpus

BARE: dict[str, Any] = {
    "title": "x", "licence": "x", "reader": "clotho", "clip_seconds": 1, "shards": 1,
}  # fmt: skip


def test_archived_files_take_the_place_of_links() -> None:
    archive = Corpus.check({**BARE, "archive": {"packed": ["sounds"]}}, "corpus").archive
    assert archive and (archive.packed, archive.names) == (["sounds"], ["{video_id}"])
    with pytest.raises(UserError, match="link: expected a URL"):
        Corpus.check({**BARE, "archive": {"packed": ["sounds"]}, "link": "{video_id}"}, "corpus")
    with pytest.raises(UserError, match="either a folder, or several, or packed"):
        Corpus.check({**BARE, "archive": {"packed": ["sounds"], "folder": "data"}}, "corpus")
    with pytest.raises(UserError, match="a composed corpus has its own media"):
        Corpus.check({**BARE, "composer": "clotho", "archive": {"folder": "data"}}, "corpus")


def test_the_plan_knows_where_they_are() -> None:
    scale = Scale(ROOT, Config(), "full")
    archived, composed, linked = (
        fetch_clips(scale, corpus, "0") for corpus in ("clotho_v21", "clotho_composed", "audiocaps")
    )
    assert archived.sources == [Path("work/archives/clotho_v21/unpacked.json")]
    assert archived.folder == Path("work/archives/clotho_v21/files")
    assert composed.sources == linked.sources == []
    assert archived.served is linked.served is linked.folder is None


OF_AN_ASSET = {"licence": "x", "used_by": ["x"]}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project with a corpus of its own, whose sounds come in two archives."""
    copied(tmp_path)
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(2), 44_100, format="WAV")
    packed = {
        "sounds_development": pack(
            tmp_path / "development.7z", {f"development/{name}": buffer.getvalue() for name in ODD_NAMES[:3]}
        ),
        "sounds_others": pack(
            tmp_path / "others.zip", {"validation/a.wav": buffer.getvalue(), "evaluation/b.wav": buffer.getvalue()}
        ),
    }
    columns = ",".join(f"caption_{number}" for number in range(1, 6))
    annotations = {}
    for part, names in {"development": ODD_NAMES[:3], "validation": ["a.wav"], "evaluation": ["b.wav"]}.items():
        rows = [f'"{name}",{",".join(["A tone rises"] * 5)}' for name in names]
        packed[f"captions_{part}"] = tmp_path / f"{part}.csv"
        packed[f"captions_{part}"].write_text("\n".join([f"file_name,{columns}", *rows]) + "\n", encoding="utf-8")
        annotations[part] = f"captions_{part}"
    corpus = BARE | {
        "annotations": annotations,
        "archive": {"packed": list(packed)[:2]},
        "download": {"streams": ["audio"]},
    }
    with (tmp_path / "corpora.yaml").open("a") as file:
        yaml.safe_dump({"my_tones": corpus}, file)
    with (tmp_path / "assets.yaml").open("a") as file:
        entries = {
            name: {
                "location": f"file:{path}",
                "kind": "binary",
                "sha256": None,
                "md5": digest(path, "md5"),
                **OF_AN_ASSET,
            }
            for name, path in packed.items()
        }
        yaml.safe_dump(entries, file)
    return tmp_path


@pytest.mark.slow
def test_clips_of_an_archived_corpus_arrive(project: Path) -> None:
    clips = "work/smoke/media/my_tones/clips/0.parquet"
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--config", "scale=smoke", "papers=[boes_avsed]"]
    command += ["--", clips]
    environment = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = list(read(project / clips))
    assert [row["status"] for row in rows] == ["ok"] * 5
    assert {row["path"].rpartition(".")[2] for row in rows} == {"wav"}
    assert all(row["seconds"] == pytest.approx(2) for row in rows)
    listed = json.loads((project / "work/archives/my_tones/unpacked.json").read_text())
    assert {name: one["files"] for name, one in listed.items()} == {"sounds_development": 3, "sounds_others": 2}
