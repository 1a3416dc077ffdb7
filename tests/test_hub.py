"""Language models of the hub, of which a stand-in runs here: what is fetched, kept, refused."""

import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from workflow_scripts.assets.hub import wanted

FETCH = """
import pathlib, sys
from workflow_scripts.assets.plan import FetchModel
from workflow_scripts.errors import run

patience = {"speed_window": 0.5}
run(lambda: FetchModel(model=sys.argv[1], revision=sys.argv[2], patience=patience).run(pathlib.Path(sys.argv[3])))
"""
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "owner/small"
WEIGHTS = bytes(range(256)) * 4096
FETCHED = {
    "config.json": b"{}",
    "generation_config.json": b"{}",
    "merges.txt": b"a b",
    "model-1-of-2.safetensors": WEIGHTS,
    "model-2-of-2.safetensors": WEIGHTS[::-1],
    "tokenizer.json": b'{"version": "1.0"}',
}
LEFT = {
    "README.md": b"words",
    "modeling_small.py": b"raise SystemExit",
    "onnx/config.json": b"{}",
    "onnx/model.safetensors": b"others",
    "pytorch_model.bin": b"pickle",
}


class Hub(ThreadingHTTPServer):
    """Holds one repository; `refused`: a file that it does not give; `false`: tells other checksums; `given`: files.

    `fault`: how it gives weights, `breaks` (once), `drips` or `endless`.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = FETCHED | LEFT
        self.refused = ""
        self.false = False
        self.fault = ""
        self.given: list[str] = []
        self.ranges: list[str] = []

    def handle_error(self, *arguments: object) -> None:
        pass


class Answer(BaseHTTPRequestHandler):
    """The hub's answers, as far as its client asks."""

    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        entries = [self.entry(file) for file in self.server.files]
        if path in {f"/api/models/{NAME}/revision/{revision}" for revision in ("main", COMMIT)}:
            siblings = [entry | {"rfilename": entry["path"]} for entry in entries]
            self.give(json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode())
        elif path == f"/api/models/{NAME}/tree/{COMMIT}":
            self.give(json.dumps(entries).encode())
        elif (file := path.removeprefix(f"/{NAME}/resolve/{COMMIT}/")) in self.server.files and (
            file != self.server.refused or self.command == "HEAD"
        ):
            self.give(self.server.files[file], weights=file.endswith(".safetensors"))
            self.server.given += [file] if self.command == "GET" else []
        else:
            self.send_error(404)

    def entry(self, file: str) -> dict[str, Any]:
        """What a listing tells of a file."""
        content = self.server.files[file]
        entry: dict[str, Any] = {"type": "file", "path": file, "size": len(content)}
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        entry |= {"oid": blob, "blobId": blob}
        if file.endswith(".safetensors"):
            digest = hashlib.sha256(b"others" if self.server.false else content).hexdigest()
            entry["lfs"] = {"size": len(content), "sha256": digest, "oid": digest, "pointerSize": 134}
        return entry

    def give(self, content: bytes, weights: bool = False) -> None:
        asked = self.headers["Range"]
        self.server.ranges += [asked] if asked else []
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        content, fault = content[start:], self.server.fault if weights else ""
        self.send_response(206 if asked else 200)
        if fault != "endless":
            self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{self.path}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if fault == "breaks":
            self.server.fault = ""
            self.wfile.write(content[:300_000])
            return
        with contextlib.suppress(ConnectionError):
            while fault == "drips":
                self.wfile.write(b"a")
                time.sleep(0.02)
            while fault == "endless":
                self.wfile.write(bytes(1 << 16))
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def fetch(hub: Hub | None, home: Path, name: str = NAME, revision: str = "main") -> subprocess.CompletedProcess[str]:
    """Runs the job; without a hub there is nobody at its address."""
    port = hub.server_address[1] if hub else 1
    call = [sys.executable, "-c", FETCH, name, revision, str(home / "model" / "fetched.json")]
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_HOME": str(home / "home"),
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }
    return subprocess.run(call, capture_output=True, text=True, check=False, env=environment)


def held(home: Path) -> dict[str, bytes]:
    """The files of the model and their contents, without the client's notes."""
    return {path.name: path.read_bytes() for path in (home / "model").glob("[!.]*") if path.name != "fetched.json"}


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_fetches_what_a_model_needs_and_nothing_that_runs(hub: Hub, tmp_path: Path, revision: str) -> None:
    done = fetch(hub, tmp_path, revision=revision)
    assert done.returncode == 0, done.stderr
    assert held(tmp_path) == FETCHED
    assert json.loads((tmp_path / "model" / "fetched.json").read_text()) == {
        "model": NAME,
        "revision": COMMIT,
        "files": {file: len(content) for file, content in FETCHED.items()},
    }


def test_a_broken_download_is_continued(hub: Hub, tmp_path: Path) -> None:
    """The files that came are not asked for again; what a killed run left of others does not fill the disk."""
    hub.refused = "model-2-of-2.safetensors"
    done = fetch(hub, tmp_path)
    assert done.returncode == 1
    assert f"error: the language model {NAME}@main" in done.stderr
    assert held(tmp_path).keys() == FETCHED.keys() - {hub.refused}
    assert not (tmp_path / "model" / "fetched.json").exists()
    (tmp_path / "model" / ".cache").mkdir()
    (tmp_path / "model" / ".cache" / "x.incomplete").write_bytes(WEIGHTS)
    hub.refused = ""
    assert fetch(hub, tmp_path).returncode == 0
    assert held(tmp_path) == FETCHED
    assert sorted(hub.given) == sorted(FETCHED)
    assert not list(tmp_path.rglob("*.incomplete"))


def test_what_cannot_be_had_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    """No such model, no network even where a part of the model is there already, no safetensors."""
    for where, name in ((hub, "owner/missing"), (None, NAME)):
        (tmp_path / "model").mkdir(exist_ok=True)
        (tmp_path / "model" / "config.json").write_bytes(b"{}")
        done = fetch(where, tmp_path, name)
        assert done.returncode == 1
        assert f"error: the language model {name}@main cannot be fetched from the hub, run again" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "model" / "fetched.json").exists()
    hub.files = LEFT | {"config.json": b"{}"}
    assert "no weights as safetensors" in fetch(hub, tmp_path).stderr


def test_other_weights_are_refused(hub: Hub, tmp_path: Path) -> None:
    """Weights with another checksum than the hub tells are thrown away, and fetched anew by the next run."""
    hub.false = True
    done = fetch(hub, tmp_path)
    assert done.returncode == 1
    assert "model-1-of-2.safetensors is not what the hub holds" in done.stderr
    assert "model-1-of-2.safetensors" not in held(tmp_path)
    hub.false = False
    assert fetch(hub, tmp_path).returncode == 0
    assert held(tmp_path) == FETCHED


@pytest.mark.parametrize("file", ["a.py", "pytorch_model.bin", "model.pt", "x/config.json", "../config.json", "a.pkl"])
def test_nothing_else_is_wanted(file: str) -> None:
    assert not wanted(file)


def test_weights_that_break_off_are_continued_at_once(hub: Hub, tmp_path: Path) -> None:
    hub.fault = "breaks"
    done = fetch(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert held(tmp_path) == FETCHED
    assert hub.ranges == ["bytes=300000-"]


@pytest.mark.parametrize(("fault", "said"), [("drips", "too slow"), ("endless", "gives [0-9]+ bytes or more")])
def test_weights_have_a_bound_in_time_and_in_bytes(hub: Hub, tmp_path: Path, fault: str, said: str) -> None:
    hub.fault = fault
    done = fetch(hub, tmp_path)
    assert done.returncode == 1
    assert re.search(f"error: the language model {NAME}@main cannot be fetched from the hub.*{said}", done.stderr)
    assert sum(path.stat().st_size for path in (tmp_path / "model").iterdir()) < 2 * len(WEIGHTS)
