"""A progress bar for a terminal, and a line every few seconds for a log file."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], description: str, total: int | None = None, unit: str = "clip") -> Iterator[T]:
    """Yields the items, showing on stderr how many are done and how long the rest will take."""
    to_terminal = sys.stderr.isatty()
    end = "" if to_terminal else "\n"
    bar = "{desc}: {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}]" + end
    yield from tqdm(
        items,
        desc=description,
        total=total,
        unit=unit,
        file=sys.stderr,
        mininterval=0.5 if to_terminal else 10,
        bar_format=bar,
        dynamic_ncols=to_terminal,
    )
