"""Progress: a bar on a terminal, and a line every half minute in a log file."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")

EVERY = 30  # seconds


class Lines(tqdm):
    """A bar as lines, of which a process writes at most one every half minute, however many bars it has."""

    written = -float(EVERY)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Writes a line, unless the bar ends (tqdm then clears it) or the last line is not old enough."""
        if msg is None and time.monotonic() >= Lines.written + EVERY:
            Lines.written = time.monotonic()
            print(self, file=sys.stderr, flush=True)


def bar(description: str, total: int | None, **options: Any) -> tqdm:
    """An open bar on stderr, with how much is done and how long the rest will take; `options` are tqdm's."""
    kind = tqdm if sys.stderr.isatty() else Lines
    form = "{desc}: {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}]"
    silent = False  # whatever TQDM_DISABLE says, with which the Snakefile silences the bars of libraries
    return kind(desc=description, total=total, bar_format=form, leave=kind is tqdm, disable=silent, **options)


def progress(items: Iterable[T], description: str, total: int | None = None, unit: str = "clip") -> Iterator[T]:
    """Yields the items, showing on stderr how many are done and how long the rest will take."""
    yield from bar(description, total, iterable=items, unit=unit, dynamic_ncols=True)
