"""What comes for an asset is of the declared kind and size: no page, no error, no half archive."""

import gzip
import hashlib
import pickle
from pathlib import Path

import asset_files
import pytest
import torch
from asset_files import CHECKSUM, PAGE, Scripted, body, checkpoint, declared, whole

from workflow_scripts.assets import forms
from workflow_scripts.assets.fetch import fetch
from workflow_scripts.errors import UserError

site = asset_files.site  # a fixture


FORM = b"""<!DOCTYPE html><html><form id="other"><input name="q"></form><form id="download-form" action="/download"
  method="get"><input type="submit" value="Download anyway"><input type="hidden" name="id" value="1Av&amp;u">
  <input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="12-ab"></form></html>"""


def test_a_page_is_not_taken_for_weights(site: str, tmp_path: Path) -> None:
    Scripted.answers = {"/w": body(PAGE)}
    lock = tmp_path / "assets.lock.yaml"
    for checksum in (None, CHECKSUM):
        for strict in (None, lock):
            with pytest.raises(UserError, match=rf"^asset 'dat': {site}/w answers with a web page instead of the file"):
                fetch("dat", declared(f"{site}/w", sha256=checksum), tmp_path / "w", strict)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "page.html").write_bytes(PAGE)
    with pytest.raises(UserError, match="answers with a web page"):
        fetch("dat", declared(f"file:{tmp_path}/page.html", bytes=[1000, 2000]), tmp_path / "w", lock)
    assert not lock.exists()


def test_the_question_of_google_drive_is_answered(site: str, tmp_path: Path) -> None:
    Scripted.answers = {"/uc?id=1": body(FORM), "/download?id=1Av%26u&confirm=t&uuid=12-ab": body(checkpoint())}
    fetch("dat", declared(f"{site}/uc?id=1"), tmp_path / "w", tmp_path / "lock.yaml")
    assert (tmp_path / "w").read_bytes() == checkpoint()
    Scripted.answers["/download?id=1Av%26u&confirm=t&uuid=12-ab"] = body(FORM)  # asked again and again
    with pytest.raises(UserError, match="answers with a web page"):
        fetch("dat2", declared(f"{site}/uc?id=1"), tmp_path / "w2", tmp_path / "lock.yaml")
    Scripted.answers = {"/uc?id=1": body(FORM.replace(b'"/download"', b'"https://evil.example/download"'))}
    with pytest.raises(UserError, match="answers with a web page"):
        fetch("dat3", declared(f"{site}/uc?id=1"), tmp_path / "w3", tmp_path / "lock.yaml")


SPOILT = {
    "csv": ["café,b\n".encode("iso-8859-1"), b"\n1,2\n", b'{"message": "Not Found"}', b"a,b\n1,\0\n"],
    "csv_latin1": [b"", b"a\0,b\n"],
    "gz": [b"numbers", gzip.compress(b"numbers")[:9]],
    "hdf5": [b"\x89PNG\r\n"],
    "json": [b'{"a": 1', b"a,b"],
    "mp3": [b"ID3\x03" + bytes(99), whole()["ogg"]],
    "npy": [whole()["npy"][:-8], pickle.dumps([1])],
    "npz": [whole()["zip"]],
    "ogg": [whole()["ogg"][:60], whole()["wav"]],
    "safetensors": [whole()["safetensors"][:-8], whole()["zip"]],
    "tar": [whole()["tar"][:20], b"a"],
    "text": [b"\xff\xfe"],
    "torch": [checkpoint()[:-8], whole()["zip"], pickle.dumps({"a": 1})],
    "wav": [whole()["wav"][:30], b"RIFF\0\0\0\0AVI "],
    "zip": [whole()["zip"][:-8], whole()["gz"]],
    "7z": [b"7z\xbc\xaf'\x1c\0\4", whole()["zip"]],
    "binary": [PAGE],
}


def test_what_comes_is_of_the_declared_kind(tmp_path: Path) -> None:
    given = tmp_path / "given"
    for kind, content in whole().items():
        given.write_bytes(content)
        fetch("it", declared(f"file:{given}", kind=kind), tmp_path / kind, tmp_path / f"{kind}.yaml")
        assert (tmp_path / kind).read_bytes() == content
    for kind, wrong in SPOILT.items():
        for content in wrong:
            given.write_bytes(content)
            checksum = hashlib.sha256(content).hexdigest()  # even then
            with pytest.raises(UserError, match=r"asset 'it': file:.* (gives no whole file of the kind|answers with)"):
                fetch("it", declared(f"file:{given}", kind=kind, sha256=checksum), tmp_path / "new")
            assert not (tmp_path / "new").exists()


def test_json_with_a_mark_of_the_byte_order_is_json(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("\ufeff{}", "utf-8")
    forms.check(tmp_path / "a.json", "json")


def test_checkpoints_of_the_older_format_are_known(tmp_path: Path) -> None:
    path = tmp_path / "old.pth"
    torch.save({"weight": torch.zeros(2)}, path, _use_new_zipfile_serialization=False)
    forms.check(path, "torch")


def test_the_size_is_the_declared_one(tmp_path: Path) -> None:
    (tmp_path / "given").write_bytes(checkpoint())
    size, location = len(checkpoint()), f"file:{tmp_path}/given"
    for right in (size, [size, size], [1, size]):
        fetch("it", declared(location, bytes=right), tmp_path / f"{right}", tmp_path / "lock.yaml")
    for wrong, said in ((size + 1, str(size + 1)), ([size + 1, size + 9], f"{size + 1} to {size + 9}")):
        with pytest.raises(UserError, match=rf"asset 'it': .* gives {size} bytes, the catalogue says {said}"):
            fetch("it", declared(location, bytes=wrong), tmp_path / "new", tmp_path / "lock.yaml")
    with pytest.raises(UserError, match="the least comes first"):
        declared(location, bytes=[2, 1])


ERRORS = {
    "S3": (
        b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>No key.</Message></Error>",
        "NoSuchKey: No key",
    ),
    "S3 bare": (b"<Error><Code>AccessDenied</Code></Error>", "AccessDenied"),
    "Zenodo": (b'{"status": 404, "message": "PID does not exist."}', "PID does not exist"),
    "hub": (b'{"error": "Repository not found"}', "Repository not found"),
    "Google": (b'{"error": {"code": 404, "message": "File not found: x."}}', "File not found: x"),
}


@pytest.mark.parametrize("status", [200, 404])
@pytest.mark.parametrize("kind", ["binary", "json", "text"])
@pytest.mark.parametrize("store", ERRORS)
def test_an_error_of_a_store_is_told_and_the_next_mirror_asked(
    site: str, tmp_path: Path, store: str, kind: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    content, said = ERRORS[store]
    Scripted.answers = {"/a": body(content, status), "/b": body(b'{"a": 1}')}
    fetch("it", declared(f"{site}/a", f"{site}/b", kind=kind), tmp_path / "it", tmp_path / "lock.yaml")
    assert (tmp_path / "it").read_bytes() == b'{"a": 1}'
    assert said in caplog.text
    with pytest.raises(UserError, match=said):
        fetch("it", declared(f"{site}/a", kind=kind), tmp_path / "other", tmp_path / "lock2.yaml")


def test_small_json_that_is_no_error_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"message": "hello", "text": "a dog barks"}')
    fetch("it", declared(f"file:{tmp_path}/a", kind="json"), tmp_path / "it", tmp_path / "lock.yaml")


@pytest.mark.parametrize("kind", ["binary", "text", "torch"])
def test_a_pointer_is_not_the_file(tmp_path: Path, kind: str) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
    (tmp_path / "given").write_bytes(pointer)
    with pytest.raises(UserError, match=r"a Git LFS pointer instead of the file, .* fetch that, with `git lfs"):
        fetch("it", declared(f"file:{tmp_path}/given", kind=kind), tmp_path / "it", tmp_path / "lock.yaml")
