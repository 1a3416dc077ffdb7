"""Assets: fetched, continued, retried, verified."""

import hashlib
import os
import subprocess
import sys
import zipfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import asset_files
import pytest
import torch
import yaml
from asset_files import CHECKSUM, CONTENT, PAGE, ROOT, Scripted, Server, body, checkpoint, declared, entry, whole

from workflow_scripts.assets import fetch as module
from workflow_scripts.assets.fetch import download, fetch
from workflow_scripts.errors import UserError
from workflow_scripts.settings.assets import Asset, Catalogue, Lock
from workflow_scripts.settings.download import Patience
from workflow_scripts.transfer import passing

url, site = asset_files.url, asset_files.site  # fixtures


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


def test_an_index_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {
        "CONFIG_FILE": os.devnull,
        "INDEX_URL": "http://127.0.0.1:9/simple",
        "EXTRA_INDEX_URL": "",
        "FIND_LINKS": "",
    }
    for name, value in ({"RETRIES": "1"} | chosen).items():
        monkeypatch.setenv(f"PIP_{name}", value)
    with pytest.raises(UserError, match=r"asset 'x': .*No matching distribution.*look at the network and the proxy"):
        fetch("x", entry("pypi:no-such-package==1.0#a.txt"), tmp_path / "a.txt")


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
