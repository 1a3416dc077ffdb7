"""Which clips a training step sees, and reading them before they are asked for."""

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

S = TypeVar("S")
T = TypeVar("T")


class Reshuffled:
    """An endless pass over `items`, reshuffled at every turn, whose every batch can be asked for by its step.

    A batch depends on nothing but the seed, the name, the items and the step, so that a resumed run draws the same
    batches without any stored state. A batch may span two turns.
    """

    def __init__(self, items: np.ndarray, size: int, seed: int, name: str) -> None:
        self.items, self.size = items, size
        self.entropy = (seed, zlib.crc32(name.encode()))
        self.turns: dict[int, np.ndarray] = {}

    def turn(self, number: int) -> np.ndarray:
        """All items in the order of one turn."""
        if number not in self.turns:
            order = np.random.default_rng([*self.entropy, number]).permutation(len(self.items))
            self.turns = {n: kept for n, kept in self.turns.items() if n == number - 1} | {number: self.items[order]}
        return self.turns[number]

    def batch(self, step: int) -> np.ndarray:
        """The items of a step's batch: (size,)."""
        count = len(self.items)
        places = range(step * self.size, (step + 1) * self.size)
        return np.array([self.turn(place // count)[place % count] for place in places])


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """Yields the items, the next one being made in a thread while the present one is used."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, items, None)
        while (item := pending.result()) is not None:
            pending = pool.submit(next, items, None)
            yield item


def ahead(make: Callable[[S], T], items: Iterable[S], threads: int) -> Iterator[T]:
    """What is made of the items, in their order, that of the next ones in threads while the present one is used."""
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(make, item))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
