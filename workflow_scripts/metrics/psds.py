"""Polyphonic sound detection scores (PSDS): all decision thresholds at once, from frame scores.

Bilen et al., "A framework for the robust evaluation of sound event detection", ICASSP 2020. The changes of each clip's
counts with the threshold are added up in every replicate of a bootstrap, as sed_scores_eval does it for one set of
clips (Ebbers et al., ICASSP 2022), slowly: it scores the first clips as well, which must come out the same.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Scenario(NamedTuple):
    """What a system is judged by: shares of durations, weights, and false alarms an hour at most."""

    detection: float  # of a detection that must lie in true events of its class
    truth: float  # of a true event that must lie in such detections
    cross_trigger: float | None  # of a false alarm that lies in true events of another class
    cross_trigger_weight: float
    instability_weight: float  # of the standard deviation over classes
    false_alarms: float = 100.0


# The two scenarios of DCASE's task 4 since 2021: to react fast to events, and to confuse no classes.
SCENARIOS = {"psds1": Scenario(0.7, 0.7, None, 0.0, 1.0), "psds2": Scenario(0.1, 0.1, 0.3, 0.5, 1.0)}
CHECKED = 20  # clips that sed_scores_eval scores as well


class ScoredClip(NamedTuple):
    """The frame scores of a clip, and what it truly holds."""

    times: np.ndarray  # (frames + 1,) where frames start, and where the last one ends, rising, seconds
    scores: np.ndarray  # (frames, classes), the higher the surer
    seconds: float  # the clip's length
    events: np.ndarray  # (events, 3): class, onset and offset


class Changes(NamedTuple):
    """At which scores the counts change, class after class, the highest score first in each."""

    start: np.ndarray  # (classes + 1,) where each class starts
    score: np.ndarray
    clip: np.ndarray
    hits: np.ndarray  # changes of true events found
    false: np.ndarray  # of false alarms
    crossed: np.ndarray  # (changes, classes) of false alarms in events of another class


def psds(clips: Sequence[ScoredClip], weights: np.ndarray) -> dict[str, np.ndarray]:
    """The scores of the scenarios, 0 … 1, each (replicates,), when clips weigh `weights` (replicates, clips).

    Classes without a true event are left out, in a replicate too. NaN where there is none.
    """
    from workflow_scripts.metrics.psd_roc import HOUR, areas

    truths = [np.array(list(apart(clip.events))).reshape(-1, 3) for clip in clips]
    classes = np.array(sorted({int(label) for events in truths for label in events[:, 0]}), int)
    if not len(classes):
        return {name: np.full(len(weights), np.nan) for name in SCENARIOS}
    events, busy = np.zeros((2, len(clips), len(classes)))
    for place, found in enumerate(truths):
        for label, onset, offset in found:
            events[place, np.searchsorted(classes, label)] += 1
            busy[place, np.searchsorted(classes, label)] += offset - onset
    seconds = np.array([clip.seconds for clip in clips])
    checked = next((n for n in range(CHECKED, len(clips)) if events[:n].any()), len(clips))
    drawn = np.vstack([np.arange(len(clips)) < checked, weights])
    scores = {}
    for name, declared in SCENARIOS.items():
        alone = len(classes) == 1  # with no other to be confused with
        scenario = declared._replace(cross_trigger=None, cross_trigger_weight=0.0) if alone else declared
        at = changes(clips, truths, classes, scenario)
        ours = areas(
            *(at.start, at.score, at.clip, at.hits, at.false, at.crossed),
            *(drawn, drawn @ events, drawn @ busy, drawn @ seconds / HOUR),
            *(scenario.cross_trigger_weight, scenario.instability_weight, scenario.false_alarms),
        )
        theirs = official(clips[:checked], truths[:checked], declared)
        if abs(ours[0] - theirs) > 1e-9:
            raise RuntimeError(f"{name} of {checked} clips is {ours[0]} by our sums and {theirs} by sed_scores_eval")
        scores[name] = ours[1:]
    return scores


def apart(events: np.ndarray) -> Iterable[tuple[int, float, float]]:
    """Events (class, onset, offset) of some length, those of one class that touch or overlap made one."""
    open_events: dict[int, tuple[float, float]] = {}
    for label, onset, offset in sorted(map(tuple, events.tolist()), key=lambda event: event[1:]):
        if onset >= offset:
            continue
        before = open_events.get(int(label))
        if before is not None and onset <= before[1]:
            open_events[int(label)] = before[0], max(before[1], offset)
        else:
            if before is not None:
                yield (int(label), *before)
            open_events[int(label)] = onset, offset
    for label, times in open_events.items():
        yield (label, *times)


def changes(clips: Sequence[ScoredClip], truths: Sequence[np.ndarray], classes: np.ndarray, by: Scenario) -> Changes:
    """What changes at which threshold; `truths` are the events of each clip, those of a class apart."""
    from workflow_scripts.metrics.psd_roc import clip_changes

    confused = np.nan if by.cross_trigger is None else by.cross_trigger
    found = [
        clip_changes(clip.times, clip.scores.astype(float), events, classes, by.detection, by.truth, confused)
        for clip, events in zip(clips, truths, strict=True)
    ]
    labels, rows = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    clip = np.repeat(np.arange(len(clips)), [len(own) for own, _ in found])
    order = np.lexsort((-rows[:, 0], labels))
    start = np.searchsorted(labels[order], np.arange(len(classes) + 1))
    score, hits, false = rows[order, :3].T.copy()
    return Changes(start, score, clip[order], hits, false, rows[order, 3:])


def official(clips: Sequence[ScoredClip], truths: Sequence[np.ndarray], scenario: Scenario) -> float:
    """The score by sed_scores_eval itself, of the classes that have events."""
    from sed_scores_eval import intersection_based
    from sed_scores_eval.base_modules.scores import create_score_dataframe

    classes = np.unique(np.concatenate(truths)[:, 0].astype(int)).tolist()
    alone = len(classes) == 1
    names = [str(label) for label in classes]
    score, *_ = intersection_based.psds(
        {
            str(place): create_score_dataframe(clip.scores[:, classes].astype(float), clip.times, names)
            for place, clip in enumerate(clips)
        },
        {
            str(place): [(onset, offset, str(int(label))) for label, onset, offset in events]
            for place, events in enumerate(truths)
        },
        {str(place): float(clip.seconds) for place, clip in enumerate(clips)},
        dtc_threshold=scenario.detection,
        gtc_threshold=scenario.truth,
        cttc_threshold=None if alone else scenario.cross_trigger,
        alpha_ct=0.0 if alone else scenario.cross_trigger_weight,
        alpha_st=scenario.instability_weight,
        max_efpr=scenario.false_alarms,
    )
    return float(score)
