"""A progress bar for a terminal, and a line every half minute for a log file."""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

EVERY = 30  # seconds from one line to the next, whatever a process works through meanwhile

told = time.monotonic()  # when this process began or wrote its last line


def progress(items: Iterable[T], description: str, total: int | None = None, unit: str = "clip") -> Iterator[T]:
    """Yields the items, showing on stderr how many are done and how long the rest will take."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not sys.stderr.isatty():
        yield from in_lines(items, description, total, unit)
        return
    bar = "{desc}: {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}]"
    shown = tqdm(
        items, description, total, unit=unit, file=sys.stderr, mininterval=0.5, bar_format=bar, dynamic_ncols=True
    )
    yield from shown


def in_lines(items: Iterable[T], description: str, total: int | None, unit: str) -> Iterator[T]:
    """Yields the items with a line for a log now and then; quick work leaves none."""
    global told
    start = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - told >= EVERY:
            told, elapsed = now, now - start
            left = "?" if total is None else tqdm.format_interval(elapsed / done * (total - done))
            of = "?" if total is None else total
            line = f"{description}: {done}/{of} {unit} [{tqdm.format_interval(elapsed)}<{left}]"
            print(line, file=sys.stderr, flush=True)


def bar_of_bytes(description: str, total: int, initial: int) -> tqdm:
    """A bar for a transfer, of which `initial` bytes are there already; for a log a line now and then."""
    every, end = (0.5, "") if sys.stderr.isatty() else (EVERY, "\n")
    form = "{desc}: {n_fmt}/{total_fmt}B [{elapsed}<{remaining}]" + end
    bar = {"unit": "B", "unit_scale": True, "mininterval": every, "delay": every, "bar_format": form}
    return tqdm(desc=description, total=total, initial=initial, file=sys.stderr, **bar)
