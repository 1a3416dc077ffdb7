"""Bounds of time and size on a server of a language model."""

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from language_models import CAPTION

from workflow_scripts.captions.backends import openai
from workflow_scripts.captions.backends.openai import Server
from workflow_scripts.captions.prompt import chat
from workflow_scripts.errors import UserError

FOREVER = 1_000_000_000


class Handler(BaseHTTPRequestHandler):
    """Answers that do not end; the path says which."""

    protocol_version = "HTTP/1.1"
    asked: Counter[str]
    stopped: threading.Event

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        kind = self.path.split("/")[1]
        self.asked[kind] += 1
        if kind == "elsewhere":
            self.send_response(302)
            self.send_header("Location", "file:///etc/hosts")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif kind == "busy":
            self.send_response(429)
            self.send_header("Retry-After", "86400")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(FOREVER))
            self.end_headers()
            piece, pause = (b" ", 0.05) if kind == "trickle" else (b" " * 65536, 0.0)
            try:
                while not self.stopped.wait(pause):
                    self.wfile.write(piece)
                    self.wfile.flush()
            except OSError:
                self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[Handler]]]:
    handler = type("Own", (Handler,), {"asked": Counter(), "stopped": threading.Event()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", handler
        handler.stopped.set()
        running.shutdown()


def ask(url: str, **changes: Any) -> None:
    values = {"kind": "openai", "url": url, "model": "m", "retries": 1, "retry_wait": 0.01, "timeout": 0.5}
    Server(openai.Backend.check(values | changes, "test")).ask([chat(CAPTION, "mention")])


def test_an_answer_that_trickles_is_given_up_and_asked_for_again(server: tuple[str, type[Handler]]) -> None:
    url, handler = server
    with pytest.raises(UserError, match=r"does not answer \((Read)?Timeout\)"):
        ask(f"{url}/trickle")
    assert handler.asked["trickle"] == 2


def test_an_answer_without_end_is_left(server: tuple[str, type[Handler]]) -> None:
    """At a megabyte, and not asked for again."""
    url, handler = server
    with pytest.raises(UserError, match=r"no answer of a language model \(gives 1\d{6} bytes or more\)"):
        ask(f"{url}/flood", timeout=30)
    assert handler.asked["flood"] == 1


def test_a_redirect_to_no_web_address_is_not_followed(server: tuple[str, type[Handler]]) -> None:
    url, handler = server
    with pytest.raises(UserError, match="leads to file:"):
        ask(f"{url}/elsewhere")
    assert handler.asked["elsewhere"] == 1


def test_a_pause_of_a_day_is_told(server: tuple[str, type[Handler]]) -> None:
    url, handler = server
    with pytest.raises(UserError, match="come again in 86400 seconds"):
        ask(f"{url}/busy", retries=5)
    assert handler.asked["busy"] == 1
