"""yt-dlp within bounds: how long and how much a source may send, to the ffmpeg that cuts too, and where it may lead."""

import functools
import threading
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import requests
import urllib3
import yt_dlp.downloader.common
import yt_dlp.downloader.external
import yt_dlp.globals
from yt_dlp import YoutubeDL
from yt_dlp.networking._requests import RequestsResponseAdapter
from yt_dlp.networking.common import Request, Response
from yt_dlp.networking.exceptions import HTTPError, TransportError
from yt_dlp.utils import Popen

from workflow_scripts.settings.download import Connection
from workflow_scripts.shards import ClipError, Reason, Status
from workflow_scripts.transfer import CHUNK, ElsewhereError, Meter, TooMuchError, check_scheme, failure

SAID = "ffmpeg.txt"  # what ffmpeg said, beside the file that it made
PROTOCOLS = "http,https,httpproxy,tcp,tls,crypto,data"  # what ffmpeg may open: no files; the last two lie in playlists

longest_cut = ContextVar[float]("longest_cut")  # seconds that the thread's ffmpeg may take


class Bounded(YoutubeDL):
    """Reads no more than the `meter` lets through, asks web addresses only, and loads no plug-ins from anywhere."""

    def __init__(self, settings: Connection, params: dict[str, Any], most: int) -> None:
        yt_dlp.globals.plugin_dirs.value = []  # else whatever lies in the home or the working folder would run
        self._settings = settings
        self.allow(most)
        super().__init__(params)

    def allow(self, most: int) -> None:
        """From now on at most so many bytes come."""
        self.meter = Meter(self._settings, most)

    def urlopen(self, req: Request | str) -> Response:
        check(req if isinstance(req, str) else req.url)
        try:
            return self._measured(super().urlopen(req))
        except HTTPError as error:
            self._measured(error.response)
            raise

    def process_info(self, info_dict: dict[str, Any]) -> None:
        for part in info_dict.get("requested_formats") or [info_dict]:
            check(part.get("url") or "https:")  # it tells itself that there is none
        super().process_info(info_dict)

    def _forceprint(self, key: str, info_dict: dict[str, Any] | None) -> None:
        """Prints nothing, as nothing is asked for, and makes ready no tables of formats, seven for every clip."""

    def _measured(self, answer: Response) -> Response:
        """The same answer, whose body is read through the meter."""
        if isinstance(answer, RequestsResponseAdapter):  # what answers requests for http and https
            self.meter.begin()
            answer._real_read = functools.partial(read, answer.fp, self.meter)
        return answer


def check(link: str) -> None:
    """Raises `ClipError` for a link that is no web address."""
    try:
        check_scheme(link)
    except ElsewhereError as error:
        raise failure(error) from None


def read(body: urllib3.BaseHTTPResponse, meter: Meter, amount: int | None = None) -> bytes:
    """As much of a body as is wanted (null: all); raises `ClipError` for too much, yt-dlp's error for a slow source."""
    parts, size = [], 0
    try:
        while amount is None or size < amount:
            if not (chunk := meter.read(body, CHUNK if amount is None else min(CHUNK, amount - size))):
                break
            parts.append(chunk)
            size += len(chunk)
    except requests.Timeout as error:
        raise TransportError(str(error), cause=error) from None
    except TooMuchError as error:
        raise failure(error) from None
    return b"".join(parts)


class Cut(Popen):
    """The ffmpeg of a cut, with a limit of time; what it says goes into a file, in full."""

    def __init__(self, args: list[str], *others: Any, **more: Any) -> None:
        said = Path(args[-1].removeprefix("file:")).with_name(SAID)
        words = ["verbose" if word == "quiet" else word for word in args]
        with said.open("wb") as file:
            super().__init__([words[0], "-nostats", *words[1:]], *others, stderr=file, **more)
        self._late = False
        self._timer = threading.Timer(longest_cut.get(), self._give_up)
        self._timer.daemon = True
        self._timer.start()

    def _give_up(self) -> None:
        self._late = True
        self.kill()

    def wait(self, timeout: float | None = None) -> int:
        code = super().wait(timeout)
        self._timer.cancel()
        if self._late:
            raise ClipError(Status.UNAVAILABLE, Reason.NETWORK, f"not cut after {self._timer.interval:g} seconds")
        return code


# The one door: yt-dlp runs ffmpeg without a limit of time, and throws away what it says.
yt_dlp.downloader.external.Popen = Cut
# What nobody sees need not be put into words, for every few bytes.
yt_dlp.downloader.common.FileDownloader.report_progress = lambda *_: None
