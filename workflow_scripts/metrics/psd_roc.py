"""Polyphonic sound detection curves, compiled by Numba: where the counts of a clip change, and the areas below the
curves in every replicate of a bootstrap."""

import math

import numba
import numpy as np

HOUR = 3600.0  # seconds
DECIMALS = 1e6  # times are compared in microseconds, as sed_scores_eval does


@numba.njit(cache=True)
def clip_changes(
    times: np.ndarray,
    scores: np.ndarray,
    events: np.ndarray,
    classes: np.ndarray,
    detection: float,
    truth: float,
    cross_trigger: float,
) -> tuple[np.ndarray, np.ndarray]:
    """By how much counts change in one clip where the threshold falls onto a score: what `Changes` holds.

    `times` (frames + 1,), `scores` (frames, all classes) and `events` (events, 3) as in `ScoredClip`, the events of a
    class apart; `classes` are those that count. `cross_trigger` is NaN where confusions do not count. Gives the place
    of each change's class among `classes`, and (changes, 3 + classes): the score and the changes of hits, of false
    alarms, and of false alarms in events of each class.
    """
    labels = np.empty(len(classes) * len(scores), np.int64)
    rows = np.empty((len(labels), 3 + len(classes)))
    count = 0
    for place, label in enumerate(classes):
        before = np.zeros(2 + len(classes))
        for threshold in np.unique(scores[:, label])[::-1]:
            now = counts(times, scores[:, label] >= threshold, events, classes, label, detection, truth, cross_trigger)
            if (now != before).any():
                labels[count], rows[count, 0], rows[count, 1:] = place, threshold, now - before
                before = now
                count += 1
    return labels[:count], rows[:count]


@numba.njit(cache=True)
def counts(
    times: np.ndarray,
    active: np.ndarray,
    events: np.ndarray,
    classes: np.ndarray,
    label: int,
    detection: float,
    truth: float,
    cross_trigger: float,
) -> np.ndarray:
    """Hits, false alarms, and false alarms in events of each class, of one class that is `active` in some frames."""
    found = np.zeros(2 + len(classes))
    covered = np.zeros(len(events))  # seconds of an event in detections that lie in events
    within = np.zeros(len(events))  # seconds of an event in one detection
    frame = 0
    while frame < len(active):
        if not active[frame]:
            frame += 1
            continue
        onset = times[frame]
        while frame < len(active) and active[frame]:
            frame += 1
        offset, own = times[frame], 0.0
        for place in range(len(events)):
            within[place] = max(min(offset, events[place, 2]) - max(onset, events[place, 1]), 0.0)
            if events[place, 0] == label:
                own += within[place]
        if at_least(own, detection * (offset - onset)):
            covered += within
            continue
        found[1] += 1
        if math.isnan(cross_trigger):
            continue
        for place, other in enumerate(classes):
            here = (events[:, 0] == other).any() and other != label
            if here and at_least(within[events[:, 0] == other].sum(), cross_trigger * (offset - onset)):
                found[2 + place] += 1
    for place in range(len(events)):
        if events[place, 0] == label and at_least(covered[place], truth * (events[place, 2] - events[place, 1])):
            found[0] += 1
    return found


@numba.njit(cache=True)
def at_least(seconds: float, wanted: float) -> bool:
    return bool(np.rint(seconds * DECIMALS) >= np.rint(wanted * DECIMALS))


@numba.njit(cache=True)
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
                weights[replicate], true[label], hours[replicate], crosses, most,
            )  # fmt: skip
            highest = 0.0
            for point in np.argsort(rate, kind="mergesort"):
                if share[point] > highest:
                    highest = share[point]
                    at[rises], to[rises], of[rises] = rate[point], highest, label
                    rises += 1
        found[replicate] = area(at[:rises], to[:rises], of[:rises], true, instability_weight, most)
    return found


@numba.njit(cache=True)
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
    most: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The operating points of a class: effective false alarms an hour, up to `most`, and the share of true events that
    is found."""
    rate, share = np.zeros(len(score)), np.zeros(len(score))
    count, place, own, alarms = 0, 0, 0.0, 0.0
    while place < len(score):
        threshold = score[place]
        while place < len(score) and score[place] == threshold:
            drawn = weight[clip[place]]
            if drawn > 0:
                own += drawn * hits[place]
                alarms += drawn * false[place] / hours
                for other in range(len(crosses)):  # a loop: an array for each change takes most of the time
                    alarms += drawn * crossed[place, other] * crosses[other]
            place += 1
        if alarms <= most:
            rate[count], share[count] = alarms, own / true
            count += 1
    return rate[:count], share[:count]


@numba.njit(cache=True)
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
