"""Assets: fetched, continued, retried, verified."""

import contextlib
import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import tarfile
import threading
import types
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import yaml

from workflow_scripts.assets import fetch as module
from workflow_scripts.assets import forms
from workflow_scripts.assets.fetch import download, fetch
from workflow_scripts.errors import UserError
from workflow_scripts.settings.assets import Asset, Catalogue, Lock
from workflow_scripts.settings.download import Patience
from workflow_scripts.transfer import passing

ROOT = Path(__file__).parent.parent
CONTENT = bytes(range(256)) * 4096
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Serves CONTENT with Range; `faults` are status codes to answer first, `ranges` what was asked."""

    faults: ClassVar[list[int]] = []
    ranges: ClassVar[list[str | None]] = []
    cut = False

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        self.ranges.append(asked)
        if self.faults:
            self.send_error(self.faults.pop(0))
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        body = CONTENT[start:]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if Server.cut:
            Server.cut = False
            self.wfile.write(body[:300_000])
        else:
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Server.faults, Server.ranges, Server.cut = [], [], False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The catalogue takes https: only; what comes after the scheme is under test here.
    plain = module.download
    monkeypatch.setattr(module, "download", lambda url, *rest, **more: plain(url.replace("s:", ":"), *rest, **more))
    yield f"https://127.0.0.1:{server.server_address[1]}/weights.bin"
    server.shutdown()


def entry(location: str, sha256: str = CHECKSUM) -> Asset:
    return Asset(location=location, sha256=sha256, kind="binary", licence="MIT", used_by=["a test"])


def test_fetches_and_keeps(url: str, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "weights.bin"
    fetch("weights", entry(url), target)
    assert target.read_bytes() == CONTENT
    fetch("weights", entry(url), target)
    assert len(Server.ranges) == 1
    assert [path.name for path in target.parent.iterdir()] == ["weights.bin"]


def test_passing_faults_are_retried_and_the_download_continues(url: str, tmp_path: Path) -> None:
    Server.faults = [503, 429]
    Server.cut = True
    fetch("weights", entry(url), tmp_path / "w", wait=0.01)
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert Server.ranges == [None, None, None, "bytes=300000-"]


def test_a_killed_download_continues(url: str, tmp_path: Path) -> None:
    (tmp_path / ".w.part").write_bytes(CONTENT[:5000])
    fetch("weights", entry(url), tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert Server.ranges == ["bytes=5000-"]


def test_a_lasting_fault_is_not_retried(url: str, tmp_path: Path) -> None:
    Server.faults = [404]
    with pytest.raises(UserError, match=r"asset 'weights': .* cannot be fetched .404"):
        fetch("weights", entry(url), tmp_path / "w")
    assert len(Server.ranges) == 1


def test_wrong_checksum_is_refused_by_name(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"asset 'weights': .* has sha256 {CHECKSUM}, the catalogue says 0000"):
        fetch("weights", entry(url, "0" * 64), tmp_path / "w")
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_known_checksum_is_refused_with_its_own(url: str, tmp_path: Path) -> None:
    unknown = Asset(location=url, sha256=None, kind="binary", licence="MIT", used_by=["a test"])
    with pytest.raises(
        UserError, match=f"asset 'weights': nobody has published its checksum; .* has sha256 {CHECKSUM}"
    ):
        fetch("weights", unknown, tmp_path / "w")
    assert not (tmp_path / "w").exists()
    fetch("weights", entry(url), tmp_path / "w")  # the checksum written down: what was fetched is used
    assert (tmp_path / "w").read_bytes() == CONTENT


def test_an_md5_stands_in_for_a_checksum_that_nobody_published(url: str, tmp_path: Path) -> None:
    digits = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    known = Asset(location=url, sha256=None, md5=digits, kind="binary", licence="MIT", used_by=["a test"])
    fetch("archive", known, tmp_path / "a")
    fetch("archive", known, tmp_path / "a")
    assert len(Server.ranges) == 1
    (tmp_path / "a").write_bytes(b"damaged")
    fetch("archive", known, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    other = known.model_copy(update={"md5": "0" * 32})
    with pytest.raises(UserError, match=f"asset 'archive': .* has md5 {digits}, the catalogue says 0000"):
        fetch("archive", other, tmp_path / "b")
    both = known.model_copy(update={"md5": "0" * 32, "sha256": CHECKSUM})  # the stronger one counts
    fetch("archive", both, tmp_path / "b")


def test_a_damaged_file_is_fetched_again(url: str, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"damaged")
    fetch("weights", entry(url), tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == CONTENT


def test_file_location(tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_bytes(CONTENT)
    fetch("mine", entry(f"file:{tmp_path}/mine.bin"), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT
    with pytest.raises(UserError, match="asset 'gone'"):
        fetch("gone", entry(f"file:{tmp_path}/gone.bin"), tmp_path / "other")


def test_pypi_location_takes_one_file_and_installs_nothing(tmp_path: Path) -> None:
    import six

    location = "pypi:six==1.17.0#six.py"
    checksum = hashlib.sha256(Path(six.__file__).read_bytes()).hexdigest()
    fetch("six", entry(location, checksum), tmp_path / "six.py")
    assert [path.name for path in tmp_path.iterdir()] == ["six.py"]
    wheel = "six-1.17.0-py2.py3-none-any.whl"  # by its own name all of it
    fetch("six", entry(f"pypi:six==1.17.0#{wheel}", "4721f391ed90541f"), tmp_path / "six.whl")
    with zipfile.ZipFile(tmp_path / "six.whl") as found:
        assert found.read("six.py") == Path(six.__file__).read_bytes()
    with pytest.raises(UserError, match=r"holds no file 'sixx.py'; did you mean 'six.py'"):
        fetch("six", entry("pypi:six==1.17.0#sixx.py"), tmp_path / "other")
    with pytest.raises(UserError, match="asset 'none'"):
        fetch("none", entry("pypi:six==0.0.999#six.py"), tmp_path / "other")


def test_a_wheel_cannot_write_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pip(_: list[str], folder: Path, __: Patience) -> str:
        with zipfile.ZipFile(folder / "evil-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr("../../evil.txt", CONTENT)
        return ""

    monkeypatch.setattr(module, "growing", pip)
    (tmp_path / "assets").mkdir()
    fetch("evil", entry("pypi:evil==1#../../evil.txt"), tmp_path / "assets" / "file")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["file"]


def test_download_is_whole_or_an_error(url: str, tmp_path: Path) -> None:
    import requests

    Server.cut = True
    with pytest.raises(requests.RequestException):
        download(url.replace("https", "http"), tmp_path / "part", "test", Patience(), 1 << 30, verified=True)
    assert passing(requests.ConnectionError())


def test_annotations_are_those_of_the_catalogue(shared: Path) -> None:
    catalogue = Catalogue.load(Path(__file__).parent.parent / "assets.yaml").assets
    for name in ("audiocaps_train", "audiocaps_val", "audiocaps_test", "clotho_captions_evaluation"):
        file = next((shared / "data/metadata" / name.partition("_")[0]).glob(catalogue[name].file_name))
        assert hashlib.sha256(file.read_bytes()).hexdigest() == catalogue[name].sha256, name
        assert file.stat().st_size == catalogue[name].bytes, name


def test_catalogue_of_the_project() -> None:
    catalogue = Catalogue.load(Path(__file__).parent.parent / "assets.yaml").assets
    for name, asset in catalogue.items():
        assert asset.file_name, name
        if asset.checksum is None:
            assert "no checksum" in asset.note, name
        elif asset.sha256 is None:
            assert "no checksum" not in asset.note, name
        else:
            assert len(asset.sha256) == 64 or "eight digits" in asset.note, name


@pytest.mark.parametrize("location", ["http://plain.example/file", "pypi:name#file", "ftp://host/file"])
def test_other_locations_are_refused(location: str, tmp_path: Path) -> None:
    (tmp_path / "assets.yaml").write_text(
        f"thing: {{location: '{location}', sha256: {CHECKSUM}, kind: binary, licence: MIT, used_by: [x]}}"
    )
    with pytest.raises(UserError, match=r"assets.yaml: 'assets.thing.location': a location is https"):
        Catalogue.load(tmp_path / "assets.yaml")


PAGE = b"\n<!DOCTYPE html><html><body>Google Drive can't scan this file for viruses.</body></html>"
FORM = b"""<!DOCTYPE html><html><form id="other"><input name="q"></form><form id="download-form" action="/download"
  method="get"><input type="submit" value="Download anyway"><input type="hidden" name="id" value="1Av&amp;u">
  <input type="hidden" name="confirm" value="t"><input type="hidden" name="uuid" value="12-ab"></form></html>"""


class Scripted(BaseHTTPRequestHandler):
    """Lets what is under a path answer; `asked` are the paths and headers that came."""

    answers: ClassVar[dict[str, Callable[[BaseHTTPRequestHandler], None]]] = {}
    asked: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, dict(self.headers)))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.answers[self.path](self)

    def log_message(self, *arguments: object) -> None:
        pass


def body(content: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """An answer; headers are written with _ for -."""

    def answer(server: BaseHTTPRequestHandler) -> None:
        server.send_response(status)
        for key, value in ({"Content_Length": str(len(content))} | headers).items():
            server.send_header(key.replace("_", "-"), value)
        server.end_headers()
        server.wfile.write(content)

    return answer


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Scripted.answers, Scripted.asked = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    server.daemon_threads, server.block_on_close = True, False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    plain = module.download
    monkeypatch.setattr(module, "download", lambda url, *rest, **more: plain(url.replace("s:", ":"), *rest, **more))
    yield f"https://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def checkpoint() -> bytes:
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, buffer)
    return buffer.getvalue()


def declared(*locations: str, **about: Any) -> Asset:
    first, *mirrors = locations
    values = {"kind": "torch", "sha256": None, "licence": "MIT", "used_by": ["a test"]} | about
    return Asset.check({"location": first, "mirrors": mirrors, **values}, "test")


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


def packed(write: Callable[[zipfile.ZipFile], None]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        write(archive)
    return buffer.getvalue()


def saved(save: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def tarred(buffer: io.BytesIO) -> None:
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))


def sound(form: str) -> bytes:
    import soundfile

    return saved(lambda file: soundfile.write(file, np.zeros(8000), 8000, format=form))


def whole() -> dict[str, bytes]:
    """A small file of each kind that can be made here."""
    from safetensors.numpy import save

    return {
        "csv": "café,b\n1,2\n".encode(),
        "csv_latin1": "café,b\n1,2\n".encode("iso-8859-1"),
        "gz": gzip.compress(b"numbers"),
        "json": b'{"a": 1}',
        "mp3": b"ID3\x03" + bytes(6) + sound("MP3"),  # an empty tag comes first
        "npy": saved(lambda file: np.save(file, np.arange(9))),
        "npz": saved(lambda file: np.savez(file, a=np.arange(9))),
        "ogg": sound("OGG"),
        "safetensors": save({"a": np.zeros(9)}),
        "tar": saved(tarred),
        "text": b"#version: 0.2\na b\n",
        "torch": checkpoint(),
        "wav": sound("WAV"),
        "zip": packed(lambda archive: archive.writestr("a.txt", "a")),
    }


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


def test_mirrors_are_asked_in_their_order(site: str, tmp_path: Path) -> None:
    Scripted.answers = {"/a": body(b"", 404), "/b": body(PAGE), "/c": body(checkpoint()), "/d": body(checkpoint())}
    places = [f"{site}/{place}" for place in "abcd"]
    fetch("dat", declared(*places), tmp_path / "w", tmp_path / "lock.yaml")
    assert (tmp_path / "w").read_bytes() == checkpoint()
    assert [path for path, _ in Scripted.asked] == ["/a", "/b", "/c"]
    assert Lock.load(tmp_path / "lock.yaml").assets["dat"].location == places[2]
    Scripted.answers["/c"] = body(b"a,b")
    said = rf"asset 'dat2': {places[0]} cannot .*404.*; {places[1]} answers .*; {places[2]} gives no .* kind torch"
    with pytest.raises(UserError, match=said):
        fetch("dat2", declared(*places[:3]), tmp_path / "w2", tmp_path / "lock.yaml")
    checksum = hashlib.sha256(checkpoint()).hexdigest()
    Scripted.answers["/c"] = body(whole()["torch"] + b"another")
    fetch("dat3", declared(*places[2:], kind="binary", sha256=checksum), tmp_path / "w3")
    assert (tmp_path / "w3").read_bytes() == checkpoint()


def test_the_first_fetch_is_recorded_and_holds(tmp_path: Path) -> None:
    given, target, lock = tmp_path / "given", tmp_path / "w", tmp_path / "assets.lock.yaml"
    given.write_text("a,b\n1,2\n")
    asset = declared(f"file:{given}", kind="csv")
    fetch("clips", asset, target, lock)
    first = hashlib.sha256(target.read_bytes()).hexdigest()
    recorded = yaml.safe_load(lock.read_text())["clips"]
    assert recorded == {"sha256": first, "bytes": 8, "location": f"file:{given}"}
    given.write_text("a,b\n1,3\n")
    fetch("clips", asset, target, lock)  # it is there: nothing is fetched
    assert target.read_text() == "a,b\n1,2\n"
    target.write_text("damaged")
    with pytest.raises(
        UserError, match=rf"asset 'clips': .* has sha256 .*, {lock} holds that of the first fetch, {first}; .* take 'cl"
    ):
        fetch("clips", asset, target, lock)
    assert yaml.safe_load(lock.read_text())["clips"] == recorded
    given.write_text("a,b\n1,2\n")
    fetch("clips", asset, target, lock)
    assert target.read_text() == "a,b\n1,2\n"


def record(folder: Path, number: int) -> None:
    asset = declared(f"file:{folder}/given", kind="csv")
    fetch(f"asset{number}", asset, folder / f"w{number}", folder / "lock.yaml")


def test_many_jobs_record_at_once(tmp_path: Path) -> None:
    (tmp_path / "given").write_text("a,b\n1,2\n")
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(record, [tmp_path] * 40, range(40)))
    assert sorted(Lock.load(tmp_path / "lock.yaml").assets) == sorted(f"asset{number}" for number in range(40))


def test_a_spoilt_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock.yaml").write_text("clips: {sha256: 1}")
    with pytest.raises(UserError, match=r"lock.yaml: 'assets.clips.sha256'"):
        fetch("clips", declared(f"file:{tmp_path}/given"), tmp_path / "w", tmp_path / "lock.yaml")


@pytest.mark.parametrize("strict", [False, True])
def test_a_first_run_needs_no_editing_unless_wanted(tmp_path: Path, strict: bool) -> None:
    (tmp_path / "data" / "nora").mkdir(parents=True)
    torch.save(torch.zeros(2), tmp_path / "data" / "nora" / "test_audio.pth")
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--cores", "1"]
    command += ["work/assets/nora_test_audio/test_audio.pth", "--config", f"strict_assets={strict}"]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = run()
    if strict:
        assert done.returncode and "write that into assets.yaml" in done.stderr
        assert not (tmp_path / "assets.lock.yaml").exists()
        return
    assert done.returncode == 0, done.stderr
    assert list(yaml.safe_load((tmp_path / "assets.lock.yaml").read_text())) == ["nora_test_audio"]
    (tmp_path / "work/assets/nora_test_audio/test_audio.pth").unlink()
    torch.save(torch.ones(2), tmp_path / "data" / "nora" / "test_audio.pth")
    done = run()
    assert done.returncode and "assets.lock.yaml holds that of the first fetch" in done.stderr


def test_what_an_asset_is_says_its_checksum() -> None:
    known = declared("https://host/a", sha256=CHECKSUM)
    assert known.identity() == declared("https://host/b", sha256=CHECKSUM, kind="zip", bytes=5, note="x").identity()
    assert known.identity() != declared("https://host/a", sha256="0" * 64).identity()
    unknown = declared("https://host/a", "https://host/b")
    assert unknown.identity() == declared("https://host/a", kind="zip").identity()
    assert unknown.identity() != declared("https://host/b").identity()


def test_an_answer_packed_although_nobody_asked(site: str, tmp_path: Path) -> None:
    table = b"a,b\n" + b"1,2\n" * 50_000
    Scripted.answers = {"/t": body(gzip.compress(table), Content_Encoding="gzip")}
    fetch("t", declared(f"{site}/t", kind="csv"), tmp_path / "t", tmp_path / "lock.yaml")
    assert (tmp_path / "t").read_bytes() == table
    assert Scripted.asked[0][1]["Accept-Encoding"] == "identity"
    twice = gzip.compress(table)  # a packed file that the server calls packed is left so
    Scripted.answers = {"/t": body(twice, Content_Encoding="gzip")}
    fetch("gz", declared(f"{site}/t", kind="gz"), tmp_path / "gz", tmp_path / "lock.yaml")
    assert (tmp_path / "gz").read_bytes() == twice
    (tmp_path / ".u.part").write_bytes(table[:1000])  # bytes of the file cannot be continued with packed ones

    def rest(server: BaseHTTPRequestHandler) -> None:
        body(twice, 206 if server.headers["Range"] else 200, Content_Encoding="gzip")(server)

    Scripted.answers = {"/t": rest}
    fetch("u", declared(f"{site}/t", kind="csv"), tmp_path / "u", tmp_path / "lock.yaml", wait=0.01)
    assert (tmp_path / "u").read_bytes() == table


def test_a_body_without_end_is_left(site: str, tmp_path: Path) -> None:
    def endless(server: BaseHTTPRequestHandler) -> None:
        server.send_response(200)
        server.end_headers()
        while True:
            server.wfile.write(b"a,b\n" * 25_000)

    Scripted.answers = {"/t": endless, "/u": body(b"", Content_Length="99999999999")}
    for place in "tu":
        with pytest.raises(UserError, match=r"gives .* bytes or more, far over what the catalogue says"):
            fetch("t", declared(f"{site}/{place}", kind="csv", bytes=[5, 100]), tmp_path / "t", tmp_path / "lock.yaml")
    assert len(Scripted.asked) == 2  # not again
    assert list(tmp_path.iterdir()) == []


def test_a_dripping_source_is_given_up(site: str, tmp_path: Path) -> None:
    over = threading.Event()

    def drip(server: BaseHTTPRequestHandler) -> None:
        server.send_response(200)
        server.send_header("Content-Length", "1000000")
        server.end_headers()
        while not over.wait(0.02):
            server.wfile.write(b"a")

    Scripted.answers = {"/slow": drip, "/fast": body(checkpoint())}
    hasty = Patience(speed_window=0.3)
    asset = declared(f"{site}/slow", f"{site}/fast")
    fetch("dat", asset, tmp_path / "w", tmp_path / "lock.yaml", attempts=2, wait=0.01, patience=hasty)
    assert [path for path, _ in Scripted.asked] == ["/slow", "/slow", "/fast"]
    with pytest.raises(UserError, match=r"bytes came in \d+ seconds, which is too slow"):
        fetch("dat2", declared(f"{site}/slow"), tmp_path / "w2", tmp_path / "lock.yaml", attempts=1, patience=hasty)
    over.set()


def test_a_server_is_asked_again_when_it_says(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", types.SimpleNamespace(sleep=slept.append))
    busy = [body(b"", 429, Retry_After="17"), body(b"", 503, Retry_After="Fri, 01 Jan 2021 00:00:00 GMT")]
    busy += [body(checkpoint())]

    def first_busy(server: BaseHTTPRequestHandler) -> None:
        busy.pop(0)(server)

    Scripted.answers = {"/w": first_busy, "/long": body(b"", 503, Retry_After="86400")}
    fetch("dat", declared(f"{site}/w"), tmp_path / "w", tmp_path / "lock.yaml", wait=0.01)
    assert slept[0] == 17 and slept[1] < 17
    with pytest.raises(UserError, match=r"503 .*, come again in 86400 seconds"):
        fetch("dat", declared(f"{site}/long"), tmp_path / "w2", tmp_path / "lock.yaml")
    assert len(slept) == 2


class Versions:
    """A file that changes between two tries: the first breaks off, the second is another one."""

    def __init__(self, first: bytes, second: bytes, **headers: str) -> None:
        self.contents, self.headers, self.asked = [first, second], headers, list[dict[str, str]]()

    def __call__(self, server: BaseHTTPRequestHandler) -> None:
        version = min(len(self.asked), 1)
        self.asked.append(dict(server.headers))
        content = self.contents[version]
        told = {key: value.format(version) for key, value in self.headers.items()}
        start = int(server.headers.get("Range", "bytes=0-")[6:-1])
        own = told.get("ETag") or told.get("Last_Modified")
        if start and server.headers.get("If-Range", own) == own:
            told["Content_Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            body(content[start:], 206, **told)(server)
        elif version == 0:
            body(content[: len(content) // 2], Content_Length=str(len(content)), **told)(server)
        else:
            body(content, **told)(server)


VERSIONS = [{"ETag": '"v{}"'}, {"Last_Modified": "Wed, 1{} Jan 2025 00:00:00 GMT"}, {"ETag": 'W/"weak"'}, {}]


@pytest.mark.parametrize("headers", VERSIONS)
def test_two_versions_of_a_file_are_never_glued_together(site: str, tmp_path: Path, headers: dict[str, str]) -> None:
    """Of a file without a known checksum too, whose first copy is taken for the true one."""
    old, new = b"a,b\n" + b"1,1\n" * 5000, b"a,b\n" + b"2,2\n" * 5000
    answer = Versions(old, new, **headers)
    Scripted.answers = {"/t": answer}
    fetch("t", declared(f"{site}/t", kind="csv"), tmp_path / "t", tmp_path / "lock.yaml", wait=0.01)
    assert (tmp_path / "t").read_bytes() == new
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock.yaml.lock", "lock.yaml", "t"]


@pytest.mark.parametrize("header", ["ETag", "Last_Modified"])
def test_the_same_version_is_continued(site: str, tmp_path: Path, header: str) -> None:
    table = b"a,b\n" + b"1,1\n" * 5000
    answer = Versions(table, table, **{header: '"v"' if header == "ETag" else "Wed, 01 Jan 2025 00:00:00 GMT"})
    Scripted.answers = {"/t": answer}
    fetch("t", declared(f"{site}/t", kind="csv"), tmp_path / "t", tmp_path / "lock.yaml", wait=0.01)
    assert (tmp_path / "t").read_bytes() == table
    (first, second) = answer.asked
    assert ("Range" in first, second["Range"]) == (False, f"bytes={len(table) // 2}-")
    assert second["If-Range"] in {'"v"', "Wed, 01 Jan 2025 00:00:00 GMT"}


def test_a_part_that_is_damaged_is_thrown_away_at_once(site: str, tmp_path: Path) -> None:
    def ranged(server: BaseHTTPRequestHandler) -> None:
        start = int(server.headers.get("Range", "bytes=0-")[6:-1])
        body(CONTENT[start:], 206 if start else 200)(server)

    Scripted.answers = {"/w": ranged}
    (tmp_path / ".w.part").write_bytes(b"damaged")
    fetch("weights", declared(f"{site}/w", kind="binary", sha256=CHECKSUM), tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == CONTENT
    assert len(Scripted.asked) == 2


@pytest.mark.parametrize("kind", ["csv", "gz"])
def test_a_packed_answer_that_breaks_off_is_healed(site: str, tmp_path: Path, kind: str) -> None:
    table = b"a,b\n" + b"1,2\n" * 50_000
    wire = gzip.compress(table)
    broken = [True]

    def answer(server: BaseHTTPRequestHandler) -> None:
        asked = server.headers.get("Range")
        content = wire[int(asked[6:-1]) :] if asked and kind == "gz" else wire
        kept = content[: len(content) // 2] if broken and broken.pop() else content
        headers = {"Content_Length": str(len(content)), "ETag": '"one"', "Content_Encoding": "gzip"}
        body(kept, 206 if asked else 200, **headers)(server)

    Scripted.answers = {"/t": answer}
    content = table if kind == "csv" else wire
    checksum = hashlib.sha256(content).hexdigest()
    fetch("t", declared(f"{site}/t", kind=kind, sha256=checksum), tmp_path / "t", wait=0.01)
    assert (tmp_path / "t").read_bytes() == content


def test_an_asset_leads_to_web_addresses_only(site: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(checkpoint())
    Scripted.answers = {"/w": body(b"", 302, Location=f"file://{tmp_path}/secret")}
    with pytest.raises(UserError, match=r"/w leads to file:, and only http: and https: are followed"):
        fetch("dat", declared(f"{site}/w"), tmp_path / "w", tmp_path / "lock.yaml")
    assert len(Scripted.asked) == 1, "it would be the same again"


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
