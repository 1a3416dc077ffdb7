"""Polyphonic sound detection scores (PSDS): all decision thresholds at once, from frame scores.

Bilen et al., "A framework for the robust evaluation of sound event detection", ICASSP 2020. At which thresholds the
counts of a clip change is found by sed_scores_eval (Ebbers et al., ICASSP 2022); here the changes are added up in every
replicate of a bootstrap. sed_scores_eval itself scores the sample, which must come out the same.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Scenario(NamedTuple):
    """What a system is judged by: shares of durations, weights, and false alarms an hour at most."""

    detection: float  # of a detection that must lie in true events of its class
    truth: float  # of a true event that must lie in such detections
    cross_trigger: float | None  # of a false alarm that lies in true events of another class
    cross_trigger_weight: float
    instability_weight: float  # of the standard deviation over classes
    false_alarms: float = 100.0

    def criteria(self) -> dict[str, Any]:
        """The same in the terms of sed_scores_eval: what counts."""
        return {"dtc_threshold": self.detection, "gtc_threshold": self.truth, "cttc_threshold": self.cross_trigger}


# The two scenarios of DCASE's task 4 since 2021: to react fast to events, and to confuse no classes.
SCENARIOS = {"psds1": Scenario(0.7, 0.7, None, 0.0, 1.0), "psds2": Scenario(0.1, 0.1, 0.3, 0.5, 1.0)}


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

    truths = [list(apart(clip.events)) for clip in clips]
    classes = sorted({label for events in truths for label, _, _ in events})
    if not classes:
        return {name: np.full(len(weights), np.nan) for name in SCENARIOS}
    frames, truth = as_sed_scores_eval(clips, truths, classes)
    events, busy = np.zeros((2, len(clips), len(classes)))
    for place, found in enumerate(truths):
        for label, onset, offset in found:
            events[place, classes.index(label)] += 1
            busy[place, classes.index(label)] += offset - onset
    seconds = np.array([clip.seconds for clip in clips])
    drawn = np.vstack([np.ones(len(clips)), weights])
    scores = {}
    for name, declared in SCENARIOS.items():
        alone = len(classes) == 1  # with no other to be confused with
        scenario = declared._replace(cross_trigger=None, cross_trigger_weight=0.0) if alone else declared
        at, official = changes(frames, truth, seconds, scenario)
        ours = areas(
            *(at.start, at.score, at.clip, at.hits, at.false, at.crossed),
            *(drawn, drawn @ events, drawn @ busy, drawn @ seconds / HOUR),
            *(scenario.cross_trigger_weight, scenario.instability_weight, scenario.false_alarms),
        )
        if abs(ours[0] - official) > 1e-9:
            raise RuntimeError(f"{name} is {ours[0]} by our sums and {official} by sed_scores_eval")
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


def as_sed_scores_eval(
    clips: Sequence[ScoredClip], truths: Sequence[list[tuple[int, float, float]]], classes: list[int]
) -> tuple[dict[str, Any], dict[str, list[tuple[float, float, str]]]]:
    """Scores of some classes and true events, by the numbers of clips and classes as text."""
    from sed_scores_eval.base_modules.scores import create_score_dataframe

    names = [str(label) for label in classes]
    frames = {
        str(place): create_score_dataframe(clip.scores[:, classes].astype(float), clip.times, names)
        for place, clip in enumerate(clips)
    }
    truth = {
        str(place): [(onset, offset, str(label)) for label, onset, offset in events]
        for place, events in enumerate(truths)
    }
    return frames, truth


def changes(
    frames: dict[str, Any], truth: dict[str, Any], seconds: np.ndarray, scenario: Scenario
) -> tuple[Any, float]:
    """What changes at which threshold, and the score by sed_scores_eval of all clips together."""
    from sed_scores_eval import intersection_based

    deltas = intersection_based.intermediate_statistics_deltas(frames, truth, **scenario.criteria())
    official, *_ = intersection_based.psds(
        frames,
        truth,
        {clip: float(length) for clip, length in zip(frames, seconds, strict=True)},
        deltas=deltas,
        **scenario.criteria(),
        alpha_ct=scenario.cross_trigger_weight,
        alpha_st=scenario.instability_weight,
        max_efpr=scenario.false_alarms,
    )
    names = list(next(iter(deltas.values())))
    parts, start = [], [0]
    for name in names:
        found = [deltas[clip][name] for clip in frames]
        score = np.concatenate([of_clip for of_clip, _ in found])
        columns = {"clip": np.repeat(np.arange(len(found)), [len(of_clip) for of_clip, _ in found])}
        for key in ("tps", "fps"):
            columns[key] = np.concatenate([delta[key] for _, delta in found]).astype(float)
        crossed = np.zeros((len(score), len(names)))
        if scenario.cross_trigger is not None:
            for place, other in enumerate(names):
                if other != name:
                    crossed[:, place] = np.concatenate([delta[f"cts\\{other}"] for _, delta in found])
        order = np.argsort(-score, kind="stable")
        parts.append([array[order] for array in (score, *columns.values(), crossed)])
        start.append(start[-1] + len(score))
    return Changes(np.array(start), *(np.concatenate(arrays) for arrays in zip(*parts, strict=True))), float(official)
