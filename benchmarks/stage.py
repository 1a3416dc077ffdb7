"""What a stage of the benchmarks is: a file in `stages/` with one `STAGE`, found by itself.

A contender is a function that takes the folder of the inputs, imports and opens what it needs, and gives the work that
is timed: a function without arguments. If that gives an iterator, it is run to its end. Each contender runs in a
process of its own, on one thread; a library that is not installed (`ModuleNotFoundError`) is told as such.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Work = Callable[[], Any]
Load = Callable[[Path], Work]


class DifferentError(Exception):
    """Results that should be the same are not: in what they differ."""


def agree(same: Any, what: str) -> None:
    """Raises `DifferentError` with `what` differs, if not `same`."""
    if not same:
        raise DifferentError(what)


def within(bound: float) -> Callable[[Work, Work], str]:
    """What compares numbers, which must be the same within a bound."""

    def same(ours: Work, theirs: Work) -> str:
        one, other = np.asarray(ours()), np.asarray(theirs())
        agree(one.shape == other.shape, f"{other.shape}, and ours {one.shape}")
        apart = float(np.abs(one - other).max())
        agree(apart < bound, f"differs by {apart:.1g}")
        return f"differs by at most {apart:.1g}"

    return same


CLOSE = within(1e-3)


@dataclass(frozen=True)
class Stage:
    """A stage, beside what a user would pick, and beside what no program can be faster than."""

    place: int  # in the table
    title: str
    unit: str  # what is counted, in the plural
    size: int  # how many of them at `--size 1`
    prepare: Callable[[Path, int], None]  # writes the inputs of so many into a folder
    ours: Load
    peers: Mapping[str, Load]
    limit: tuple[str, Load] | None = None  # what it does, and the work
    same: Callable[[Work, Work], str] | None = CLOSE  # compares ours with a peer: how near, or `DifferentError`
    note: str = ""  # what must be known to read the figures
    repeats: int = 100  # at most, where a repetition takes long
    unlike: tuple[str, ...] = ()  # peers whose results are others by intention

    @property
    def contenders(self) -> dict[str, Load]:
        """All by their names, ours first, the limit last."""
        limit = {"limit": self.limit[1]} if self.limit else {}
        return {"ours": self.ours, **self.peers, **limit}


def stages() -> dict[str, Stage]:
    """All stages by the names of their files, in the order of the table."""
    from benchmarks import stages as folder

    names = [module.name for module in pkgutil.iter_modules(folder.__path__)]
    return dict(sorted(((name, load(module(name))) for name in names), key=lambda item: item[1].place))


def module(name: str) -> str:
    """The module of a stage."""
    return f"benchmarks.stages.{name}"


def load(module: str) -> Stage:
    """The stage of a module."""
    found: Stage = importlib.import_module(module).STAGE
    return found
