"""Sorting of more numbers than memory holds: sorted runs on disk, read back range by range.

Knuth, The Art of Computer Programming 3 (1998), section 5.4. Of every run each thousandth key stays in memory, which
says where to cut the runs so that what lies between two cuts fits.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

BLOCK = 1 << 20  # pairs that are read back at a time
DTYPES = np.uint64, np.uint32  # of keys and values
EVERY = 1 << 10  # of so many keys of a run one stays in memory


class ExternalSort:
    """Pairs of a key, uint64, and a value, uint32, sorted by key; a context, whose files go with it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._paths = [Path(self._folder.name) / name for name in ("keys", "values")]
        self._files = [path.open("wb") for path in self._paths]
        self._ends = [0]  # of the runs
        self._kept: list[np.ndarray] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()
        self._folder.cleanup()

    def add(self, keys: np.ndarray, values: np.ndarray) -> None:
        """A run, in any order; it is held in memory."""
        order = np.argsort(keys)
        for file, array, dtype in zip(self._files, (keys, values), DTYPES, strict=True):
            array[order].astype(dtype, copy=False).tofile(file)
        self._ends.append(self._ends[-1] + len(keys))
        self._kept.append(keys[order[::EVERY]])

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All pairs, the lowest keys first, about `BLOCK` at a time; equal keys are in one block, however many."""
        for file in self._files:
            file.flush()
        if not self._ends[-1]:
            return
        kept, step = np.sort(np.concatenate(self._kept)), max(1, BLOCK // EVERY)
        starts = self._ends[:-1]
        for cut in [*np.unique(kept[step::step]), None]:
            ends = self._ends[1:] if cut is None else self._cut(cut)
            keys, values = (self._read(*file, starts, ends) for file in enumerate(DTYPES))
            order = np.argsort(keys)
            if len(order):
                yield keys[order], values[order]
            starts = ends

    def _cut(self, cut: np.uint64) -> list[int]:
        """Where the keys of each run end that are at most `cut`."""
        ends = []
        for run, end, kept in zip(self._ends, self._ends[1:], self._kept, strict=False):
            first = run + EVERY * max(0, int(np.searchsorted(kept, cut, "right")) - 1)
            keys = self._read(0, np.uint64, [first], [min(first + EVERY, end)])
            ends.append(first + int(np.searchsorted(keys, cut, "right")))
        return ends

    def _read(self, file: int, dtype: type, starts: list[int], ends: list[int]) -> np.ndarray:
        """A part of each run."""
        path, size = self._paths[file], np.dtype(dtype).itemsize
        spans = zip(starts, ends, strict=True)
        return np.concatenate([np.fromfile(path, dtype, end - start, offset=start * size) for start, end in spans])
