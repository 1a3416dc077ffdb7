"""What docs/security.md promises: foreign files are data, stay where they belong, and secrets stay secret."""

import ast
import json
import logging
import pickle
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from listening_files import NASTY
from test_archives import KINDS, pack, pack_link

from workflow_scripts.assets.unpack import unpack
from workflow_scripts.captions.answers import read_answer
from workflow_scripts.captions.grammar import GrammarError
from workflow_scripts.corpora.readers.digit_pairs import tensor
from workflow_scripts.devices import own_folder
from workflow_scripts.errors import UserError
from workflow_scripts.listening.export import page_of
from workflow_scripts.media.plan import DecodeAudio
from workflow_scripts.media.server import serve
from workflow_scripts.media.ydl import options
from workflow_scripts.models.pretrained import read_weights
from workflow_scripts.rehearsal import descriptions
from workflow_scripts.settings.base import UniqueKeys
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.download import Download
from workflow_scripts.tracking.plan import SyncTracking
from workflow_scripts.training import checkpoints

ROOT = Path(__file__).parent.parent
SECRET = "s3cr/t=&"  # noqa: S105 - of nothing, to be looked for

# ---- the code itself: no call that executes what it reads, or that others can foresee


def faults(text: str) -> Iterator[str]:
    """The calls and texts in a program that this project does without."""
    forbidden = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp"}
    forbidden |= {
        f"{module}.{name}" for module in ("pickle", "marshal", "dill") for name in ("load", "loads", "Unpickler")
    }
    forbidden |= {"yaml.unsafe_load", "yaml.full_load", "joblib.load", "shelve.open", "tempfile.gettempdir"}
    forbidden |= {"subprocess.getoutput", "subprocess.getstatusoutput"}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if node.value.startswith(("/tmp", "/var/tmp", "0.0.0.0")):  # noqa: S104, S108 - looked for, not used
                yield repr(node.value)
        elif isinstance(node, ast.ImportFrom) and node.module in {"pickle", "marshal", "dill"}:
            yield from (
                f"from {node.module} import {name.name}" for name in node.names if name.name != "UnpicklingError"
            )
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name in forbidden:
                yield name
            if name == "torch.load" and given.get("weights_only") != "True":
                yield "torch.load without weights_only=True"
            if name == "yaml.load" and given.get("Loader") != "UniqueKeys":
                yield "yaml.load without our safe loader"
            if name.startswith("tar") and name.endswith(".extractall") and given.get("filter") != "'data'":
                yield "a tar archive without its filter"
            if {("shell", "True"), ("allow_pickle", "True"), ("trust_remote_code", "True")} & given.items():
                yield f"{name} with {given}"


PROGRAMS = [
    *(ROOT / "rules").glob("*.py"),
    *(ROOT / "workflow_scripts").rglob("*.py"),
    *(ROOT / "composed").rglob("*.py"),
]
ALLOWED = {("workflow_scripts/devices.py", "tempfile.gettempdir")}  # a folder there is made this user's alone


def test_no_program_executes_what_it_reads() -> None:
    found = {(str(path.relative_to(ROOT)), fault) for path in PROGRAMS for fault in faults(path.read_text())}
    assert found == ALLOWED
    assert issubclass(UniqueKeys, yaml.CSafeLoader)


@pytest.mark.parametrize(
    "line",
    [
        *("eval(x)", "pickle.loads(x)", "from pickle import loads", "yaml.load(x, Loader=yaml.Loader)", "os.system(x)"),
        *("torch.load(x)", "torch.load(x, weights_only=False)", "np.load(x, allow_pickle=True)", "run(x, shell=True)"),
        *("tar.extractall(x)", "open('/tmp/x')", "tempfile.mktemp()", "serve('0.0.0.0')", "joblib.load(x)"),
        "AutoModel.from_pretrained(x, trust_remote_code=True)",
    ],
)
def test_such_calls_are_found(line: str) -> None:
    assert list(faults(line))


def test_rules_start_no_shell_of_their_own() -> None:
    for path in (ROOT / "rules").glob("*.smk"):
        assert not {"shell:", "run:"} & {line.strip() for line in path.read_text().splitlines()}, path


# ---- files of others


class Trap:
    """Pickled, it is a call that makes a file when somebody unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("door", [read_weights, tensor, lambda path: checkpoints.load(path, torch.device("cpu"))])
@pytest.mark.parametrize("saved", ["torch", "pickle"])
def test_code_in_weights_tensors_and_checkpoints_is_not_executed(door: Any, saved: str, tmp_path: Path) -> None:
    path, sprung = tmp_path / "file.pt", tmp_path / "sprung"
    if saved == "torch":
        torch.save({"weight": torch.ones(2), "trap": Trap(sprung)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(sprung)))
    with pytest.raises(UserError):
        door(path)
    assert not sprung.exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../evil", "in/../../evil", "/evil", "link"])
def test_archives_stay_inside_their_folder(kind: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "aim").write_text("aim")
    path = tmp_path / f"a.{kind}"
    packed = pack_link(path, tmp_path / "aim") if name == "link" else pack(path, {"good": b"x", name: b"x"})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="link" if name == "link" else "leads out of the folder"):
        unpack({"evil": packed}, tmp_path / "files")
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/evil").exists()


def test_the_server_of_sources_serves_its_folder_to_this_machine_only(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "open").write_text("y")
    (tmp_path / "served" / "link").symlink_to(tmp_path / "secret")
    with serve(tmp_path / "served") as base:
        host, port = base.removeprefix("http://").rstrip("/").split(":")
        assert host == "127.0.0.1"
        assert urllib.request.urlopen(f"{base}open").read() == b"y"  # noqa: S310 - a loopback URL
        for path in ("../secret", "%2e%2e/secret", "link", str(tmp_path / "secret")):
            with socket.create_connection((host, int(port))) as asked:
                asked.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                assert asked.recv(100).startswith(b"HTTP/1.1 404"), path
        table = Path("/proc/net/tcp").read_text().splitlines()[1:]
        listening = [line.split()[1] for line in table if line.split()[1].endswith(f":{int(port):04X}")]
        assert listening[0] == f"0100007F:{int(port):04X}"


def test_yt_dlp_runs_nothing_and_reads_no_local_file_or_browser(tmp_path: Path) -> None:
    given = options(Download(), "ffmpeg", tmp_path)
    asks = {"enable_file_urls", "postprocessors", "exec_cmd", "cookiesfrombrowser", "usenetrc", "netrc_cmd"}
    assert not asks & given.keys()
    assert set(given["external_downloader_args"]) <= {"ffmpeg_i", "ffmpeg_o"}


def test_what_a_language_model_invents_is_refused() -> None:
    answer = '[{"event": "<script>alert(1)</script>", "order": 1}]'
    with pytest.raises(GrammarError):
        read_answer(answer, "a dog barks")


def test_a_caption_cannot_break_out_of_a_page() -> None:
    page = page_of({"title": NASTY, "clips": [{"captions": [{"id": "1", "text": NASTY}]}]}, NASTY)
    assert page.count("<script") == page.count("</script>") == 2
    assert "<b>" not in page
    assert "default-src 'none'" in page and "'unsafe" not in page


def test_a_job_handed_over_is_settings_and_nothing_else(tmp_path: Path) -> None:
    job = DecodeAudio(clips=tmp_path / "0.parquet", store=tmp_path, audio={"sample_rate": 8000, "clip_seconds": 1})
    text = json.dumps(descriptions.written(job))
    assert descriptions.read(json.loads(text)) == job
    for name in ("subprocess:Popen", "os:system", "workflow_scripts.errors:UserError"):
        with pytest.raises(UserError, match="not one of the project's settings"):
            descriptions.read({"class": name, "fields": {}})


# ---- folders that others write to


@pytest.mark.parametrize("planted", ["link", "file"])
def test_a_folder_that_somebody_else_has_planted_is_not_used(planted: str, tmp_path: Path) -> None:
    place = tmp_path / "encore"
    assert own_folder(place).stat().st_mode & 0o777 == 0o700
    place.rmdir()
    (tmp_path / "elsewhere").mkdir()
    place.symlink_to(tmp_path / "elsewhere") if planted == "link" else place.touch()
    with pytest.raises(UserError, match="must be a folder, and yours"):
        own_folder(place)


# ---- secrets


def run(*options: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "snakemake", "-n", "--config", *options]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://joe:{SECRET}@db/runs",
        f"mysql+pymysql://db/runs?user=joe&password={SECRET}",
        f"https://:{SECRET}@db",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(UserError, match=r"write its name as \$\{NAME\}") as raised:
        Config.check({"tracking_uri": address}, "config.yaml")
    assert SECRET not in str(raised.value)
    assert Config(tracking_uri=address.replace(SECRET, "${RUNS_PASSWORD}")).tracking_uri


def test_snakemake_does_not_repeat_it_either() -> None:
    done = run(f"tracking_uri=postgresql://joe:{SECRET}@db/runs")
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "${NAME}" in said
    assert SECRET not in said


def test_a_password_from_the_environment_reaches_the_store_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked: list[str] = []
    monkeypatch.setattr("workflow_scripts.tracking.sync.sync", lambda uri, *_: (asked.append(uri), ("1", {}, {}))[1])
    monkeypatch.setenv("RUNS_PASSWORD", SECRET)
    (tmp_path / "lock").touch()
    (tmp_path / "coverage.csv").write_text("paper,corpus,split,asked,ok\np,c,test,1,1\n")
    files = {"coverage": tmp_path / "coverage.csv", "lock": tmp_path / "lock", "jobs": {}, "scores": {}, "tables": []}
    job = SyncTracking(paper="p", scale="mini", uri="postgresql://joe:${RUNS_PASSWORD}@db/runs", **files)
    job.run(tmp_path / "out.json")
    assert set(asked) == {"postgresql://joe:s3cr%2Ft%3D%26@db/runs"}
    told = [caplog.text, (tmp_path / "out.json").read_text(), job.model_dump_json(), str(job.identity())]
    assert not any(form in text for text in told for form in (SECRET, "s3cr%2Ft%3D%26"))
    monkeypatch.delenv("RUNS_PASSWORD")
    with pytest.raises(UserError, match="environment variable RUNS_PASSWORD is not set"):
        job.run(tmp_path / "out.json")


def test_no_environment_is_logged_as_a_parameter_or_a_tag() -> None:
    """All that MLflow is told comes from files of results, the commit and the lock."""
    for name in ("items", "sync", "names"):
        text = (ROOT / "workflow_scripts" / "tracking" / f"{name}.py").read_text()
        reads = [node for node in ast.walk(ast.parse(text)) if ast.unparse(node) == "os.environ"]
        assert len(reads) == (2 if name == "sync" else 0), "of a tracking URI only"
