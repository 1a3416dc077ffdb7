"""yt-dlp as a library: one object per thread, one clip per call, and its many errors as a status and a reason."""

import errno
import logging
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests

from workflow_scripts.errors import UserError
from workflow_scripts.settings.download import Download
from workflow_scripts.shards import ClipError, Reason, Status
from workflow_scripts.transfer import ElsewhereError, TooMuchError, failure, reason_of_http, retry_after

log = logging.getLogger(__name__)
messages = log.getChild("said")
messages.addFilter(lambda record: record.levelno < logging.ERROR)  # errors become rows; warnings concern a person

# What sites (YouTube above all) say, in the order in which the phrases must be looked for: a private video also asks
# to sign in, a bot check too. Apostrophes are matched by a dot, because YouTube writes them in two ways.
PHRASES = [
    (Reason.BOT_CHECK, r"not a bot|captcha"),
    (Reason.RATE_LIMITED, r"rate.?limit|try again later|too many requests|this content isn.t available"),
    (Reason.AGE, r"confirm your age|age.restricted|inappropriate for some users"),
    (Reason.PRIVATE, r"private video|video is private"),
    (Reason.TERMINATED, r"account .*(has been terminated|is terminated)|closed their youtube account"),
    (Reason.GEO, r"in your (country|region)|your location|geo.?restrict"),
    (Reason.LOGIN, r"\bsign in\b|\blog ?in\b|logged.in|registered users|\bmembers\b|requires payment|purchase"),
    (Reason.NO_FORMAT, r"requested format is not available|no video formats|\bdrm\b|only images are available"),
    (Reason.REMOVED, r"removed|no longer available|copyright|does not exist|video (is )?unavailable"),
    (Reason.REMOVED, r"video (is not|isn.t) available|deleted"),
    (Reason.UNSUPPORTED, r"unsupported url|not a valid url|cannot be partially downloaded"),
    (Reason.SERVER, r"got error: http error 5"),
    (Reason.NETWORK, r"got error: |content too short|did not get any data|incomplete data"),
]
# What ffmpeg says in a cut, in the order in which the phrases must be looked for.
FFMPEG_PHRASES = [
    (Reason.NOT_FOUND, r"Server returned 404"),
    (Reason.RATE_LIMITED, r"Server returned 429"),
    (Reason.LOGIN, r"Server returned 401"),
    (Reason.FORBIDDEN, r"Server returned 4"),
    (Reason.SERVER, r"Server returned 5|Statistics: 0 bytes read"),  # the latter: an empty answer
    (Reason.UNSUPPORTED, r"not on whitelist|Protocol not found"),
    (Reason.NETWORK, r"Stream ends prematurely|Failed to resolve|Connection refused|Connection reset|timed out"),
    (Reason.NETWORK, r"Error reading HTTP response|opening input: Input/output error|\[tls @"),
]
BROKEN_OFF = re.compile(r"Stream ends prematurely")
# Its exit code is the low byte of its negative error number: -183 is "invalid data", an HTTP error is 8.
FFMPEG = re.compile(r"ffmpeg exited with code (\d+)")
FFMPEG_HTTP = 8
FFMPEG_NETWORK = {256 - number for number in (errno.EIO, errno.ECONNRESET, errno.ETIMEDOUT, errno.ECONNREFUSED)}
FFMPEG_FULL = 256 - errno.ENOSPC
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
OURS_TO_USE = {Reason.CUT_FAILED, Reason.TOO_SHORT, Reason.DECODE, Reason.UNEXPECTED}
SLACK = 32_000_000  # bytes beside the clip's own: pages, players, headers


# What is cut exactly is encoded anew: pictures quickly, and the same bytes each time (with lookahead they are not);
# sound without loss, because a second lossy encoding costs it its high frequencies.
EXACT = ["-sn", "-preset", "ultrafast", "-c:a", "flac", "-sample_fmt", "s16", "-f", "mp4"]
# A file of sound alone keeps no times: what is missing, before the first sample too, becomes silence. The encoder of
# FLAC takes the size of its blocks from the first frame, of which a cut may leave fewer than the 16 samples that one
# must have: it then fails, but not with equal frames. Without holes the samples are the same: no cut is made anew.
SOUND = ["-af", "aresample=async=1:min_comp=0.000001:first_pts=0,asetnsamples=n=4096:p=0"]
# With as many threads as there are cores, pictures would be encoded otherwise on a machine with more of them. No cut is
# made anew for that.
ONE_THREAD = ["-threads", "1"]
RUN_UP = 1.0  # seconds before a cut from which ffmpeg decodes: right after a seek, decoders give nothing or noise


class Downloader:
    """One yt-dlp object; belongs to the thread that makes it."""

    def __init__(self, settings: Download, cache: Path) -> None:
        import imageio_ffmpeg
        from yt_dlp.postprocessor import FFmpegPostProcessor

        from workflow_scripts.media.bounded import Bounded, longest_cut

        ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
        # Before a cut, yt-dlp looks for ffmpeg in this variable of the thread's context and not in its options; where
        # it finds none it downloads the whole video without a word.
        FFmpegPostProcessor._ffmpeg_location.set(ffmpeg)
        longest_cut.set(settings.cut_timeout)
        self._ydl = Bounded(settings, options(settings, ffmpeg, cache), settings.largest_file)
        self._settings = settings

    def download(
        self, link: str, start: float | None, end: float | None, folder: Path, extractor: str | None = None
    ) -> Path:
        """Downloads seconds `start` to `end` (null: from the beginning, to the end) of a link into an empty folder.

        Which of yt-dlp's extractors knows the link is found by trying them all, unless it is named.
        Returns the file. Raises `ClipError` for whatever the source or yt-dlp has against it, and `UserError` where
        the fault is the disk's.
        """
        whole = not start and end is None
        exact = self._settings.force_keyframes_at_cuts and not whole
        run_up = min(start or 0.0, RUN_UP) if exact else 0.0
        section = {"start_time": (start or 0) - run_up, "end_time": math.inf if end is None else end}
        self._ydl.params["download_ranges"] = lambda *_: [{} if whole else section]
        most = most_bytes(start, end, self._settings)
        self._ydl.allow(most)
        arguments = ["-ss", f"{run_up:.6f}", *SOUND, *ONE_THREAD, *EXACT] if exact else []
        self._ydl.params["external_downloader_args"]["ffmpeg_o"] = [*arguments, "-fs", str(most)]
        # The file gets a name of ours: a generic link's own is its base name, the same in any folder.
        self._ydl.params["outtmpl"]["default"] = str(folder).replace("%", "%%") + "/clip.%(ext)s"
        began = time.monotonic()
        try:
            info = self._ydl.extract_info(link, ie_key=extractor)
        except Exception as error:  # noqa: BLE001 - extractors raise anything
            found = classify(error, said(folder))
            if found.reason is Reason.CUT_FAILED and time.monotonic() - began >= self._settings.timeout:
                # To ffmpeg, a server that stops answering is a file with invalid data.
                raise ClipError(Status.UNAVAILABLE, Reason.NETWORK, f"{found.detail}, out of time") from None
            raise found from None
        files = [Path(part["filepath"]) for part in (info or {}).get("requested_downloads", [])]
        if len(files) != 1 or not files[0].exists():
            raise ClipError(Status.UNAVAILABLE, Reason.UNSUPPORTED, "the link does not give one video")
        if files[0].stat().st_size >= most:  # there ffmpeg stops
            raise failure(TooMuchError(f"gives {most} bytes or more"))
        return files[0].rename(files[0].with_suffix(".mp4")) if exact else files[0]


def most_bytes(start: float | None, end: float | None, settings: Download) -> int:
    """The bytes that a clip can have: of one without an end, what a file may have of which nothing is known."""
    return settings.largest_file if end is None else SLACK + round((end - (start or 0)) * settings.largest_rate)


def said(folder: Path) -> str:
    """What ffmpeg said while it cut into a folder; empty if it did not."""
    from workflow_scripts.media.bounded import SAID

    return (folder / SAID).read_text(errors="replace") if (folder / SAID).exists() else ""


def options(settings: Download, ffmpeg: str, cache: Path) -> dict[str, Any]:
    """yt-dlp's options: silent, no retries of its own (ours are counted and paced), nothing written but the clip."""
    from workflow_scripts.media.bounded import PROTOCOLS

    chosen = {
        "format": settings.format,
        "force_keyframes_at_cuts": settings.force_keyframes_at_cuts,
        "ffmpeg_location": ffmpeg,
        "merge_output_format": "mp4",
        "external_downloader_args": {
            # An ffmpeg that cuts has no time limit of its own and would wait for a stalled server for ever.
            "ffmpeg_i": ["-rw_timeout", str(round(settings.timeout * 1e6)), "-protocol_whitelist", PROTOCOLS],
        },
        "socket_timeout": settings.timeout,
        "ratelimit": settings.rate_limit,
        "retries": 0,
        "extractor_retries": 0,
        "fragment_retries": settings.retries,
        "skip_unavailable_fragments": False,
        "geo_bypass": False,  # a restriction is written down, not tricked
        "noplaylist": True,
        "extract_flat": "in_playlist",  # a list is refused, not downloaded
        "js_runtimes": js_runtimes(settings),
        "extractor_args": settings.extractor_args,
        "cookiefile": None if settings.cookies is None else str(settings.cookies),
        "cachedir": str(cache),
        "outtmpl": {"default": "clip.%(ext)s"},
        "overwrites": True,
        "updatetime": False,
        "quiet": True,
        "noprogress": True,
        "color": "no_color",
        "logger": messages,
    }
    # An absent proxy means the environment's, a null one means none.
    return chosen if settings.proxy is None else {**chosen, "proxy": settings.proxy}


def js_runtimes(settings: Download) -> dict[str, dict[str, str]]:
    """The only runtime of JavaScript that yt-dlp may use, in its form."""
    return {settings.js_runtime: {} if settings.js_runtime_path is None else {"path": str(settings.js_runtime_path)}}


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it; yt-dlp keeps causes in attributes of its own."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        exc_info = getattr(current, "exc_info", None) or (None, None, None)
        pending += [exc_info[1], getattr(current, "cause", None), current.__cause__]


def classify(error: BaseException, ffmpeg: str = "") -> ClipError:
    """What a failed download says about the clip, with yt-dlp's own words as the detail; `ffmpeg`: what that said."""
    from yt_dlp.networking.exceptions import HTTPError

    chain = list(causes(error))
    for cause in chain:
        if isinstance(cause, OSError) and cause.errno in DISK_FULL:
            raise UserError(f"downloads cannot be stored: {cause.strerror}; make room and run again") from error
        if isinstance(cause, ClipError):
            return cause
        if isinstance(cause, requests.exceptions.InvalidSchema):
            return failure(ElsewhereError("is sent on to another place than a web address, which is not followed"))
    text = next((str(c.orig_msg) for c in chain if hasattr(c, "orig_msg")), str(error))
    reason = reason_of(chain, text, ffmpeg)
    if reason is Reason.UNEXPECTED:
        log.warning("a download failed in a way not known yet", exc_info=error)
    status = Status.FAILED if reason in OURS_TO_USE else Status.UNAVAILABLE
    pauses = [retry_after(cause.status, cause.response.headers) for cause in chain if isinstance(cause, HTTPError)]
    return ClipError(status, reason, detail(text), max(pauses, default=0.0))


def reason_of(chain: list[BaseException], text: str, ffmpeg: str = "") -> Reason:
    """The reason behind a chain of exceptions whose most telling words are `text`."""
    from yt_dlp.networking.exceptions import HTTPError, TransportError, UnsupportedRequest
    from yt_dlp.utils import GeoRestrictedError, UnsupportedError

    kinds: list[tuple[Reason, tuple[type[BaseException], ...]]] = [
        (Reason.GEO, (GeoRestrictedError,)),
        (Reason.UNSUPPORTED, (UnsupportedError, UnsupportedRequest)),
        (Reason.NOT_FOUND, (FileNotFoundError,)),
        (Reason.NETWORK, (TransportError, ConnectionError, TimeoutError)),
    ]
    words = re.sub(r"^(ERROR: *)?\[[\w:]+\] .*?: ", "", text)  # a file's name before them may say anything
    worded = [reason for reason, phrase in PHRASES if re.search(phrase, words, re.IGNORECASE)]
    answered = [reason_of_http(cause.status) for cause in chain if isinstance(cause, HTTPError)]
    raised = [reason for reason, types in kinds if any(isinstance(cause, types) for cause in chain)]
    cut = [reason_of_ffmpeg(int(exited[1]), ffmpeg) for exited in FFMPEG.finditer(text)]
    # An exception of yt-dlp's own that names the case comes before words, and words before what lies below them.
    named = [reason for reason in raised if reason in {Reason.GEO, Reason.UNSUPPORTED}]
    return next(iter([*named, *worded, *answered, *raised, *cut]), Reason.UNEXPECTED)


def reason_of_ffmpeg(code: int, ffmpeg: str) -> Reason:
    """What the exit code of an ffmpeg that cuts says, and what it said itself."""
    if code == FFMPEG_FULL:
        raise UserError("downloads cannot be stored: no space left on device; make room and run again")
    if code == FFMPEG_HTTP and not ffmpeg:
        return Reason.SERVER
    spoken = [reason for reason, phrase in FFMPEG_PHRASES if re.search(phrase, ffmpeg)]
    return next(iter(spoken), Reason.NETWORK if code in FFMPEG_NETWORK else Reason.CUT_FAILED)


def detail(text: str) -> str:
    """The first line of a message, without colours and with links cut to their host: the rest may hold tokens."""
    lines = re.sub(r"\x1b\[[0-9;]*m|^ERROR:\s*", "", text.strip()).strip().splitlines() or [""]
    plain = re.sub(r"^ERROR:\s*|\s*\(caused by .*", "", lines[0])
    return re.sub(r"https?://(?:[^/\s@]*@)?([^/\s?#]+)\S*", r"\1", plain)[:300]
