"""Sums of precisions over ranked lists in every replicate of a bootstrap at once, compiled by Numba.

A list is read once, in its order, with the running sums of all replicates beside it: time is in proportion to
predictions × replicates, memory is that of the sums alone. Weights are (groups, replicates), one row for all clips of a
group; a clip may be a group of its own.
"""

import numba
import numpy as np


class PrecisionSums:
    """For each list, the sum over its correct predictions of their weight times the precision at their place."""

    def __init__(self, lists: int, weights: np.ndarray) -> None:
        self.weights = np.ascontiguousarray(weights)
        self.sums = np.zeros((lists, weights.shape[1]))
        self._running = np.zeros((3, weights.shape[1]))
        self._list = -1

    def add(self, lists: np.ndarray, places: np.ndarray, groups: np.ndarray, correct: np.ndarray) -> None:
        """The next predictions, list after list; those of equal places share them and come in one call."""
        predictions, hits, new = self._running
        self._list = _read(self._list, lists, places, groups, correct, self.weights, predictions, hits, new, self.sums)


def weight_sums(rows: np.ndarray, groups: np.ndarray, weights: np.ndarray, sums: np.ndarray) -> None:
    """Adds to each of some rows of `sums` (rows, replicates) the weights of a group."""
    _gather(rows, groups, weights, sums)


@numba.njit(cache=True)
def _gather(rows: np.ndarray, groups: np.ndarray, weights: np.ndarray, sums: np.ndarray) -> None:
    for i in range(len(rows)):
        _add(sums[rows[i]], weights[groups[i]])


@numba.njit(cache=True)
def _add(sums: np.ndarray, weights: np.ndarray) -> None:
    for replicate in range(len(sums)):
        sums[replicate] += weights[replicate]


@numba.njit(cache=True)
def _settle(new: np.ndarray, hits: np.ndarray, predictions: np.ndarray, sums: np.ndarray) -> None:
    """The hits of one place."""
    for replicate in range(len(new)):
        if new[replicate] > 0:
            hits[replicate] += new[replicate]
            sums[replicate] += new[replicate] * (hits[replicate] / predictions[replicate])
            new[replicate] = 0


@numba.njit(cache=True)
def _read(
    current: int,
    lists: np.ndarray,
    places: np.ndarray,
    groups: np.ndarray,
    correct: np.ndarray,
    weights: np.ndarray,
    predictions: np.ndarray,
    hits: np.ndarray,
    new: np.ndarray,
    sums: np.ndarray,
) -> int:
    """Reads predictions on from the list `current` and returns the last list."""
    waiting = False
    for i in range(len(lists)):
        if lists[i] != current:
            current = lists[i]
            predictions[:] = 0
            hits[:] = 0
        _add(predictions, weights[groups[i]])
        if correct[i]:
            _add(new, weights[groups[i]])
            waiting = True
        if waiting and (i + 1 == len(lists) or lists[i + 1] != current or places[i + 1] != places[i]):
            _settle(new, hits, predictions, sums[current])
            waiting = False
    return current
