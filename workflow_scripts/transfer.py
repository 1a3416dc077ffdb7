"""Transfers over HTTP within bounds: how long and how much a server may send, where to, when it is asked again, and
what its refusals mean.
"""

import contextlib
import email.utils
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
import urllib3.connection

from workflow_scripts.settings.download import Patience
from workflow_scripts.shards import ClipError, Reason, Status

SCHEMES = ("http", "https")
CHUNK = 1 << 16
HEAD = 2  # times the seconds of silence that are borne may pass until the head of an answer is there
PAGE = 32_000_000  # bytes after which an answer is left that is read into memory
BUSY = {429, 503}  # answers whose `Retry-After` says when to come again
HTTP_REASONS = {
    401: Reason.LOGIN,
    404: Reason.NOT_FOUND,
    408: Reason.SERVER,
    410: Reason.NOT_FOUND,
    416: Reason.CUT_FAILED,
    425: Reason.RATE_LIMITED,
    429: Reason.RATE_LIMITED,
    451: Reason.GEO,
}


class TooMuchError(requests.RequestException):
    """More comes than there can be."""


class ElsewhereError(requests.RequestException):
    """A link or a redirect leads to something else than a web address."""


@contextlib.contextmanager
def hanging_up(connection: urllib3.connection.HTTPConnection) -> Iterator[None]:
    """Inside, a server is left whose answer's head does not come, though bytes do now and then: `TimeoutError`."""
    sock = connection.sock
    if sock is None or (silence := sock.gettimeout()) is None:
        yield
        return
    late = threading.Event()

    def hang_up() -> None:
        late.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of TLS too, whose own would wait

    timer = threading.Timer(HEAD * silence, hang_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        raise TimeoutError(f"no whole head of an answer within {HEAD * silence:g} seconds")


class InTime(urllib3.connection.HTTPConnection):
    """A connection that does not wait for the head of an answer for ever."""

    def getresponse(self) -> Any:
        with hanging_up(self):
            return super().getresponse()


class InTimeTls(urllib3.connection.HTTPSConnection):
    """The same with TLS."""

    def getresponse(self) -> Any:
        with hanging_up(self):
            return super().getresponse()


# The one door: all connections of this process, those of requests and yt-dlp too.
urllib3.HTTPConnectionPool.ConnectionCls = InTime
urllib3.HTTPSConnectionPool.ConnectionCls = InTimeTls


class Session(requests.Session):
    """Follows redirects to web addresses only; goes through `proxy`, if given, otherwise the environment's."""

    def __init__(self, proxy: str | None = None) -> None:
        super().__init__()
        if proxy is not None:
            self.proxies = {"http": proxy, "https": proxy}

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            check_scheme(urljoin(resp.url, target))
        return target

    def page(
        self,
        url: str,
        patience: Patience,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        most: int = PAGE,
    ) -> requests.Response:
        """An answer of any status with its body, `most` bytes, which is read into memory; a `body` is posted as JSON.

        Raises `requests.RequestException`.
        """
        method = "GET" if body is None else "POST"
        with self.request(method, url, params=query, json=body, stream=True, timeout=patience.timeout) as answer:
            answer._content = b"".join(arriving(answer, Meter(patience, most)))
        return answer


class Meter:
    """Measures what comes from a source, and gives up what is too slow or too much."""

    def __init__(self, patience: Patience, most: int) -> None:
        self._patience, self._most, self._total = patience, most, 0
        self.begin()

    def begin(self) -> None:
        """Begins to measure the speed anew."""
        self._came, self._waited = 0, 0.0

    def read(self, body: urllib3.BaseHTTPResponse, most: int, unpack: bool = True) -> bytes:
        """The next bytes of a body, none at its end; raises `TooMuchError`, `requests.Timeout` and urllib3's errors."""
        began = time.monotonic()
        chunk = body.read1(most, decode_content=unpack)
        self.count(len(chunk), time.monotonic() - began)  # what its reader does with it takes none of its time
        return chunk

    def count(self, size: int, seconds: float) -> None:
        """Counts bytes, and the seconds for which they were waited for; raises `TooMuchError`, `requests.Timeout`."""
        self._total, self._came, self._waited = self._total + size, self._came + size, self._waited + seconds
        if self._total > self._most:
            raise TooMuchError(f"gives {self._total} bytes or more")
        if self._waited >= self._patience.speed_window:
            if self._came < self._patience.least_speed * self._waited:
                raise requests.Timeout(f"{self._came} bytes came in {self._waited:.0f} seconds, which is too slow")
            self.begin()


def arriving(answer: requests.Response, meter: Meter, unpack: bool = True) -> Iterator[bytes]:
    """The body of an answer, bit by bit as it comes; raises `requests.RequestException`."""
    try:
        while chunk := meter.read(answer.raw, CHUNK, unpack):
            yield chunk
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from None


def json_of(answer: requests.Response) -> Any:
    """What an answer says in JSON; a `ValueError` if it is none, or nested too deeply."""
    try:
        return answer.json()
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def check_scheme(link: str) -> None:
    """Raises `ElsewhereError` for a link that is no web address."""
    scheme = urlsplit(link).scheme.lower()
    if scheme not in SCHEMES:
        raise ElsewhereError(f"leads to {scheme}:, and only http: and https: are followed")


def passing(error: BaseException, patience: Patience | None = None) -> bool:
    """Whether a fault may pass by itself: no answer, a broken connection, a server's own error, too many requests.

    Not so when the server itself says that it takes longer than our patience.
    """
    if isinstance(error, requests.HTTPError) and error.response is not None:
        may_pass = error.response.status_code in {408, 425, 429} or error.response.status_code >= 500
        return may_pass and asked_pause(error) <= (patience or Patience()).longest_pause
    # A ValueError is a link that cannot be asked.
    return isinstance(error, requests.RequestException) and not isinstance(
        error, (TooMuchError, ElsewhereError, ValueError)
    )


def asked_pause(error: BaseException | None) -> float:
    """The seconds that a refusal asks us to wait; 0 where it does not say."""
    if isinstance(error, ClipError):
        return error.pause
    response = error.response if isinstance(error, requests.HTTPError) else None
    return 0.0 if response is None else retry_after(response.status_code, response.headers)


def retry_after(status: int, headers: Mapping[str, str]) -> float:
    """The seconds of an answer's `Retry-After`, which holds seconds or a date; 0 without one."""
    value = (headers.get("Retry-After") or "").strip() if status in BUSY else ""
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def failure(error: requests.RequestException) -> ClipError:
    """What an unsuccessful ask means for what was asked for, without its URL, which may hold a password."""
    response = error.response if isinstance(error, requests.HTTPError) else None
    if response is not None:
        said = f"HTTP {response.status_code} {response.reason or ''}".strip()
        return ClipError(Status.UNAVAILABLE, reason_of_http(response.status_code), said, asked_pause(error))
    if isinstance(error, TooMuchError):
        return ClipError(Status.FAILED, Reason.TOO_LARGE, str(error))
    if isinstance(error, ElsewhereError):
        return ClipError(Status.UNAVAILABLE, Reason.UNSUPPORTED, str(error))
    if isinstance(error, ValueError):
        return ClipError(Status.UNAVAILABLE, Reason.UNSUPPORTED, f"the link cannot be asked ({type(error).__name__})")
    if isinstance(error, requests.TooManyRedirects):
        return ClipError(Status.UNAVAILABLE, Reason.SERVER, "redirects without end")
    return ClipError(Status.UNAVAILABLE, Reason.NETWORK, type(error).__name__)


def reason_of_http(status: int) -> Reason:
    """What an HTTP status says about a link; other refusals than the known ones may pass, as rules of sites change."""
    return HTTP_REASONS.get(status, Reason.FORBIDDEN if 400 <= status < 500 else Reason.SERVER)
