"""A stage of the benchmarks of which all is known, for tests of what measures it."""

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.stage import Stage, Work

SPUN, HELD = 0.3, 80_000_000  # seconds of a processor, and bytes
PROGRAM = f"import time; held = b'1' * {HELD}\nwhile time.process_time() < {SPUN}: pass"


def spin(_: Path) -> Work:
    return lambda: turn("ours")


def turn(name: str) -> list[float]:
    """Writes down whose turn it is, and how many threads its libraries may have."""
    with Path(os.environ["TURNS"]).open("a") as file:
        file.write(f"{name}:{os.environ['OMP_NUM_THREADS']}\n")
    return [1.0]


def other(_: Path) -> Work:
    return lambda: turn("other") and [2.0]


def limit(_: Path) -> Work:
    return lambda: turn("limit")


def program(_: Path) -> Work:
    return lambda: [1.0] if subprocess.run([sys.executable, "-c", PROGRAM], check=True) else []


def asleep(_: Path) -> Work:
    return lambda: [1.0] if time.sleep(SPUN * 1.1) is None else []


def iterator(_: Path) -> Work:
    def examples() -> Iterator[int]:
        until = time.process_time() + SPUN
        while time.process_time() < until:
            yield 1

    return examples


def missing(_: Path) -> Work:
    no_such_library = importlib.import_module("no_such_library")

    return no_such_library.work


def failing(_: Path) -> Work:
    return lambda: 1 / 0


def failing_later(_: Path) -> Work:
    left = iter([1.0, 1.0])
    return lambda: [next(left, None) or 1 / 0]


def killed(_: Path) -> Work:
    return lambda: os._exit(3)


STAGE = Stage(
    place=0,
    title="known",
    unit="things",
    size=10,
    prepare=lambda folder, units: None,
    ours=spin,
    peers={
        "other": other,
        "a program": program,
        "asleep": asleep,
        "an iterator": iterator,
        "missing": missing,
        "failing": failing,
        "failing later": failing_later,
        "killed": killed,
    },
    limit=("a turn", limit),
    unlike=("an iterator",),
)
