"""A loopback HTTP server for one folder, with Range: yt-dlp cuts sections out of served files, not of local ones."""

import contextlib
import mimetypes
import os
import re
import socketserver
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from workflow_scripts.errors import UserError


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD for the files below `folder`, nothing else."""

    protocol_version = "HTTP/1.1"
    folder: Path  # links followed

    def do_GET(self) -> None:
        self.answer(body=True)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def answer(self, body: bool) -> None:
        """Sends the file, or the asked range of it (RFC 9110, section 14); an unreadable Range is ignored."""
        path = self.file()
        if path is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        size = path.stat().st_size
        start, end, status = 0, size, HTTPStatus.OK
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked and asked[0] != "bytes=-":
            first, last = asked.groups()
            start = int(first) if first else max(size - int(last), 0)
            end = min(int(last) + 1, size) if first and last else size
            status = HTTPStatus.PARTIAL_CONTENT
            if start >= end:
                self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        self.send_response(status)
        self.send_header("Content-Type", mimetypes.guess_type(path.name)[0] or "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - start))
        if status == HTTPStatus.PARTIAL_CONTENT:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        if body and start < end:
            self.send(path, start, end)

    def file(self) -> Path | None:
        """The asked file, if it is one and lies in the folder (links followed)."""
        try:
            path = (self.folder / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
        except (OSError, RuntimeError, ValueError):  # a circle of links, or no name of a file
            return None
        return path if path.is_relative_to(self.folder) and path.is_file() else None

    def send(self, path: Path, start: int, end: int) -> None:
        """Sends bytes `start` to `end` (exclusive); a reader that has enough hangs up, which is no error."""
        with contextlib.suppress(ConnectionError), path.open("rb") as file:
            self.connection.sendfile(file, start, end - start)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: yt-dlp reports what matters."""


class Server(socketserver.ThreadingTCPServer):
    """One thread per connection, all ended with the process."""

    daemon_threads = True
    allow_reuse_address = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Reports what goes wrong, but not a reader that hung up."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serve(folder: Path, handler: type[Handler] = Handler) -> Iterator[str]:
    """Serves `folder` on a free port of 127.0.0.1 while the context lasts; gives the base URL."""
    with Server(("127.0.0.1", 0), type("FolderHandler", (handler,), {"folder": folder.resolve()})) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def serving(folder: Path | None) -> Iterator[str | None]:
    """Serves a folder of sources, if there is one, past any proxy; gives its base URL."""
    if folder is None:
        yield None
        return
    if not folder.is_dir():
        raise UserError(f"the sources' folder {folder} is not there")
    os.environ["no_proxy"] = f"127.0.0.1,{os.environ.get('no_proxy', '')}"
    with serve(folder) as base:
        yield base


def url(base: str, path: str) -> str:
    """The URL of a file, given by its path in the served folder."""
    return base + quote(path)


def is_url(link: str) -> bool:
    """Whether a manifest's link is a URL, and not a path in a folder."""
    return link.startswith(("http://", "https://"))
