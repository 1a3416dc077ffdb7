"""Errors that a person can act on, and the one place where a command turns them into a sentence."""

import difflib
import logging
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any


class UserError(Exception):
    """One sentence that names the file, key or clip at fault and says what to do."""


class StoppedError(Exception):
    """One sentence: work was stopped from outside, has lost nothing that counts, and goes on when run again."""


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
    except StoppedError as stop:
        print(stop, file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL)
