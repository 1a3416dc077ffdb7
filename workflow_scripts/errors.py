"""Errors that a person can act on, and the one place where a command turns them into a sentence."""

import contextlib
import difflib
import errno
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any


class UserError(Exception):
    """One sentence that names the file, key or clip at fault and says what to do."""


class StoppedError(Exception):
    """One sentence: work was stopped from outside, has lost nothing that counts, and goes on when run again."""


FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
SIGNS_OF_FULL = ("No space left on device", "Disk quota exceeded", "File too large", "unexpected pos", "iostream error")


def full(error: BaseException) -> str | None:
    """What the system says of a disk that is full, a quota that is used up; None if the error is another one.

    Libraries that write by themselves say it in words only, or as PyTorch does hardly at all (the last two signs).
    """
    if isinstance(error, OSError) and error.errno in FULL:
        return os.strerror(error.errno)
    found = not isinstance(error, UserError) and any(sign in str(error) for sign in SIGNS_OF_FULL)
    return os.strerror(errno.ENOSPC) if found else None


@contextlib.contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """Inside, where a folder is written to, a full disk is a `UserError` that names it."""
    try:
        yield
    except Exception as error:
        if said := full(error):
            raise UserError(f"{folder}: {said}; make room there and run the same command again") from None
        raise


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest known word, otherwise the known words, otherwise nothing."""
    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; known: {', '.join(choices)}" if choices else ""


def run(app: Callable[[], Any]) -> None:
    """Runs a command line; a `UserError` ends it with its sentence and exit code 1, without a traceback.

    `StoppedError` ends it with exit code 75 (EX_TEMPFAIL), by which it asks to be run again.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if (said := full(error)) is None:
            raise
        print(f"error: {error.filename or 'a file'}: {said}; make room and run again", file=sys.stderr)
        sys.exit(1)
    except StoppedError as stop:
        print(stop, file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL)
