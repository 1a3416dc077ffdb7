"""Patience towards a source: evenly spaced asks, and none at all once it refuses everything."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock
from tenacity import AttemptManager, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from workflow_scripts.settings.download import Connection
from workflow_scripts.shards import ClipError, Reason, Status

log = logging.getLogger(__name__)

REFUSALS = {Reason.RATE_LIMITED, Reason.BOT_CHECK, Reason.NETWORK}


class Pace:
    """Spaces the asks of all jobs at one source evenly, at most `an_hour` (null: no limit).

    Jobs see each other in `folder`: the source's file was modified when somebody asked last. A turn is taken when it
    has come and never reserved, so a killed job holds up nobody.
    """

    def __init__(self, an_hour: float | None, folder: Path, source: str) -> None:
        self.an_hour, self._source = an_hour, source
        self._interval = 3600 / an_hour if an_hour else 0.0
        if an_hour:
            folder.mkdir(parents=True, exist_ok=True)
        self._last, self._lock = folder / source, FileLock(folder / f"{source}.lock")
        self._told = False  # whether this job has asked, or has said why it waits
        self._held_until = 0.0

    def wait(self) -> None:
        """Returns when it is the caller's turn."""
        while (rest := self._held_until - time.monotonic()) > 0:
            time.sleep(rest)
        while self._interval and (rest := self._rest()) > 0:
            if not self._told:
                log.info("%s was asked just now, by another job: the next turn comes in %.0f s", self._source, rest)
            self._told = True
            time.sleep(rest)

    def hold(self, seconds: float) -> None:
        """Lets none of this job ask for some seconds, as the source wants it."""
        if seconds:
            log.info("%s asks to come again in %.0f s", self._source, seconds)
        self._held_until = max(self._held_until, time.monotonic() + seconds)

    def _rest(self) -> float:
        """Takes the turn if it has come; otherwise the seconds until then."""
        with self._lock:
            now = time.time()
            since = now - self._last.stat().st_mtime if self._last.exists() else self._interval
            if abs(since) < self._interval:  # more than that ahead of us is a clock that was set
                return self._interval - since
            self._last.touch()
            os.utime(self._last, (now, now))
            self._told = True
            return 0


def share(an_hour: float | None, settings: Connection) -> float | None:
    """The asks an hour of this machine (null: no limit)."""
    return None if an_hour is None else an_hour / settings.machines


def host(link: str) -> str:
    """The source that a URL asks, as the name of a file."""
    return urlsplit(link).netloc.rpartition("@")[2].lower().removeprefix("www.")


def asking(settings: Connection, pace: Pace, again: Callable[[ClipError], bool]) -> Iterator[AttemptManager]:
    """The asks for one thing, each in its turn: a failure that is worth it is asked again, when the source says."""
    retrying = Retrying(
        retry=retry_if_exception(
            lambda error: isinstance(error, ClipError) and again(error) and error.pause <= settings.longest_pause
        ),
        wait=wait_exponential(multiplier=settings.retry_wait, max=300),
        stop=stop_after_attempt(settings.retries + 1),
        reraise=True,
    )
    for attempt in retrying:
        pace.wait()
        yield attempt
        error = attempt.retry_state.outcome and attempt.retry_state.outcome.exception()
        if isinstance(error, ClipError) and error.pause <= settings.longest_pause:
            pace.hold(error.pause)


class Breaker:
    """Stops the asking once `limit` clips in a row were refused: the next would be too, and make it worse."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._refused: list[Reason] = []
        self._lock = threading.Lock()

    def note(self, reason: Reason | None, for_long: bool = False) -> None:
        """Counts how a clip ended (None: well); a source that refuses `for_long` is not asked any more."""
        with self._lock:
            if len(self._refused) < self._limit:
                refused = [reason] * (self._limit if for_long else 1) if reason in REFUSALS else []
                self._refused = [*self._refused, *refused] if refused else []

    def check(self) -> None:
        """Raises `ClipError`, with the reason of the last refusal, when the asking has stopped."""
        if len(self._refused) >= self._limit:
            detail = f"not asked: {self._limit} clips in a row were refused in this run"
            raise ClipError(Status.UNAVAILABLE, self._refused[-1], detail)


class Gate:
    """Asks and the writing down of their answers happen inside; once it is closed, nobody comes in any more."""

    def __init__(self) -> None:
        self._inside, self._open, self._changed = 0, True, threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._open)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self, seconds: float) -> None:
        """Returns when nobody is inside any more, or after some seconds."""
        with self._changed:
            self._open = False
            self._changed.wait_for(lambda: not self._inside, seconds)
