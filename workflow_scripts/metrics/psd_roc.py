"""The areas below polyphonic sound detection curves in every replicate of a bootstrap, compiled by Numba."""

import math

import numba
import numpy as np

HOUR = 3600.0  # seconds


@numba.njit(cache=True)  # type: ignore[misc]
def areas(
    start: np.ndarray,
    score: np.ndarray,
    clip: np.ndarray,
    hits: np.ndarray,
    false: np.ndarray,
    crossed: np.ndarray,
    weights: np.ndarray,
    events: np.ndarray,
    busy: np.ndarray,
    hours: np.ndarray,
    cross_weight: float,
    instability_weight: float,
    most: float,
) -> np.ndarray:
    """The score of each replicate, from `Changes`; `events` and `busy` (replicates, classes) are true events and their
    seconds, `weights` (replicates, clips)."""
    found = np.zeros(len(weights))
    at, to, of = np.zeros(len(score)), np.zeros(len(score)), np.zeros(len(score), np.int64)  # where curves rise
    for replicate in range(len(weights)):
        true, counted, rises = events[replicate], (events[replicate] > 0).sum(), 0
        for label in range(len(true)):
            if true[label] == 0:
                continue
            first, last = start[label], start[label + 1]
            crosses = np.zeros(len(true))  # what a false alarm an hour in each other class counts
            if cross_weight > 0 and counted > 1:
                for other in range(len(true)):
                    if other != label and busy[replicate, other] > 0:
                        crosses[other] = cross_weight * HOUR / busy[replicate, other] / (counted - 1)
            rate, share = points(
                score[first:last], clip[first:last], hits[first:last], false[first:last], crossed[first:last],
                weights[replicate], true[label], hours[replicate], crosses,
            )  # fmt: skip
            highest = 0.0
            for point in np.argsort(rate, kind="mergesort"):
                if rate[point] <= most and share[point] > highest:
                    highest = share[point]
                    at[rises], to[rises], of[rises] = rate[point], highest, label
                    rises += 1
        found[replicate] = area(at[:rises], to[:rises], of[:rises], true, instability_weight, most)
    return found


@numba.njit(cache=True)  # type: ignore[misc]
def points(
    score: np.ndarray,
    clip: np.ndarray,
    hits: np.ndarray,
    false: np.ndarray,
    crossed: np.ndarray,
    weight: np.ndarray,
    true: float,
    hours: float,
    crosses: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The operating points of a class: effective false alarms an hour, and the share of true events that is found."""
    rate, share = np.zeros(len(score)), np.zeros(len(score))
    count, place, own, alarms = 0, 0, 0.0, 0.0
    while place < len(score):
        threshold = score[place]
        while place < len(score) and score[place] == threshold:
            drawn = weight[clip[place]]
            if drawn > 0:
                own += drawn * hits[place]
                alarms += drawn * (false[place] / hours + (crossed[place] * crosses).sum())
            place += 1
        rate[count], share[count] = alarms, own / true
        count += 1
    return rate[:count], share[:count]


@numba.njit(cache=True)  # type: ignore[misc]
def area(
    at: np.ndarray, to: np.ndarray, of: np.ndarray, true: np.ndarray, instability_weight: float, most: float
) -> float:
    """The area below the mean of all classes' curves less their deviation, as a share of the largest; NaN of none."""
    counted = (true > 0).sum()
    if counted == 0:
        return np.nan
    ratio, total, height, before = np.zeros(len(true)), 0.0, 0.0, 0.0
    for rise in np.argsort(at, kind="mergesort"):
        total += height * (at[rise] - before)
        before, ratio[of[rise]] = at[rise], to[rise]
        mean = ratio.sum() / counted
        spread = (np.where(true > 0, ratio - mean, 0.0) ** 2).sum()
        height = max(mean - instability_weight * math.sqrt(spread / counted), 0.0)
    return (total + height * (most - before)) / most
