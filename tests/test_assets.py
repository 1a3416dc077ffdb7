"""Assets: fetched, continued, retried, verified."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from workflow_scripts.assets import fetch as module
from workflow_scripts.assets.fetch import download, fetch, passing
from workflow_scripts.errors import UserError
from workflow_scripts.settings.assets import Asset, Catalogue

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
    monkeypatch.setattr(module, "download", lambda url, *rest: plain(url.replace("https:", "http:"), *rest))
    yield f"https://127.0.0.1:{server.server_address[1]}/weights.bin"
    server.shutdown()


def entry(location: str, sha256: str = CHECKSUM) -> Asset:
    return Asset(location=location, sha256=sha256, licence="MIT", used_by=["a test"])


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
    assert Server.ranges == [None, None, None, "bytes=262144-"]


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
    unknown = Asset(location=url, sha256=None, licence="MIT", used_by=["a test"])
    with pytest.raises(
        UserError, match=f"asset 'weights': nobody has published its checksum; .* has sha256 {CHECKSUM}"
    ):
        fetch("weights", unknown, tmp_path / "w")
    assert not (tmp_path / "w").exists()
    fetch("weights", entry(url), tmp_path / "w")  # the checksum written down: what was fetched is used
    assert (tmp_path / "w").read_bytes() == CONTENT


def test_an_md5_stands_in_for_a_checksum_that_nobody_published(url: str, tmp_path: Path) -> None:
    digits = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    known = Asset(location=url, sha256=None, md5=digits, licence="MIT", used_by=["a test"])
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
    def pip(command: list[str], **_: object) -> object:
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "evil-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr("../../evil.txt", CONTENT)
        return type("Done", (), {"returncode": 0, "stderr": ""})()

    monkeypatch.setattr(module.subprocess, "run", pip)
    (tmp_path / "assets").mkdir()
    fetch("evil", entry("pypi:evil==1#../../evil.txt"), tmp_path / "assets" / "file")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["file"]


def test_download_is_whole_or_an_error(url: str, tmp_path: Path) -> None:
    import requests

    Server.cut = True
    with pytest.raises(requests.RequestException):
        download(url.replace("https", "http"), tmp_path / "part", "test")
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
        f"thing: {{location: '{location}', sha256: {CHECKSUM}, licence: MIT, used_by: [x]}}"
    )
    with pytest.raises(UserError, match=r"assets.yaml: 'assets.thing.location': a location is https"):
        Catalogue.load(tmp_path / "assets.yaml")
