"""How many cores a test has, and the programs that it starts."""

import contextlib
import os
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def cores(count: int) -> Iterator[None]:
    """Inside, there are so many; where the machine has fewer, the test is skipped."""
    before = os.sched_getaffinity(0)
    if len(before) < count:
        pytest.skip(f"it takes {count} cores")
    os.sched_setaffinity(0, sorted(before)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
