"""Patience towards a source: evenly spaced asks, and none at all once it refuses everything."""

import threading
import time

from workflow_scripts.shards import ClipError, Reason, Status

REFUSALS = {Reason.RATE_LIMITED, Reason.BOT_CHECK, Reason.NETWORK}


class Pace:
    """Spaces the asks of all threads evenly, at most `an_hour` (null: no limit)."""

    def __init__(self, an_hour: float | None) -> None:
        self._interval = 3600 / an_hour if an_hour else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Returns when it is the caller's turn."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._interval
        time.sleep(max(turn - time.monotonic(), 0))


class Breaker:
    """Stops the asking once `limit` clips in a row were refused: the next would be too, and make it worse."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._refused: list[Reason] = []
        self._lock = threading.Lock()

    def note(self, reason: Reason | None) -> None:
        """Counts how a clip ended (None: well)."""
        with self._lock:
            if len(self._refused) < self._limit:
                self._refused = [*self._refused, reason] if reason in REFUSALS else []

    def check(self) -> None:
        """Raises `ClipError`, with the reason of the last refusal, when the asking has stopped."""
        if len(self._refused) >= self._limit:
            detail = f"not asked: {self._limit} clips in a row were refused in this run"
            raise ClipError(Status.UNAVAILABLE, self._refused[-1], detail)
