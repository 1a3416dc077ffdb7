"""A server that answers by a script, and files of every kind."""

import contextlib
import gzip
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from workflow_scripts.assets import fetch as module
from workflow_scripts.settings.assets import Asset

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


PAGE = b"\n<!DOCTYPE html><html><body>Google Drive can't scan this file for viruses.</body></html>"


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
