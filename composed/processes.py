"""Work that is shared out among processes."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

from workflow_scripts.errors import UserError

Item_contra = TypeVar("Item_contra", contravariant=True)
Made_co = TypeVar("Made_co", covariant=True)


class Maker(Protocol[Item_contra, Made_co]):
    """Makes something of one item after another, with what costs time to load and is loaded first."""

    def make(self, item: Item_contra, /) -> Made_co: ...


def in_processes(
    maker: Callable[..., Maker[Item_contra, Made_co]],
    given: tuple[Any, ...],
    items: Sequence[Item_contra],
    workers: int,
) -> Iterator[Made_co]:
    """What a maker of `given` makes of the items, in their order; one worker is this process.

    The processes are forked from this one and share what the maker has loaded.
    """
    loaded = maker(*given)
    if workers == 1:
        yield from map(loaded.make, items)
        return
    _maker[:] = [loaded]
    with ProcessPoolExecutor(
        min(workers, max(1, len(items))), multiprocessing.get_context("fork"), _watch_parent
    ) as pool:
        try:
            yield from pool.map(_make, items)
        except BrokenProcessPool:
            raise UserError("a composing process was killed; give it more memory or fewer workers") from None
        finally:
            pool.shutdown(cancel_futures=True)
            _maker.clear()


_maker: list[Maker[Any, Any]] = []  # of the worker processes


def _watch_parent() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Without this, a worker whose parent is killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(item: Any) -> Any:
    return _maker[0].make(item)
