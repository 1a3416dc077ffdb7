"""Scores of sound event detection by clips, segments and events (Mesaros et al., Applied Sciences 6(6), 2016).

Every score is a function of counts that add up over clips, (clips, classes, 3) with TP, FP, FN in the last axis, so a
resample of clips is one matrix product. The counts are those of sed_eval 0.2.1; `official` asks sed_eval itself.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

Counts = np.ndarray
Score = Callable[[np.ndarray], np.ndarray]  # of counts (…, 3): (…)
CELLS = 1 << 22  # segments of all clips and classes that are counted at a time


class Events(NamedTuple):
    """The events of many clips as flat arrays, one element an event."""

    clip: np.ndarray  # int: position of the clip
    label: np.ndarray  # int: position of the class
    onset: np.ndarray  # float64, seconds
    offset: np.ndarray  # float64, seconds

    @classmethod
    def of(cls, clips: Sequence[Iterable[Mapping[str, Any]]], labels: Sequence[str]) -> Self:
        """From the lists of events (`onset`, `offset`, `label`) of each clip; the label must be one of `labels`."""
        position = {label: index for index, label in enumerate(labels)}
        rows = [(i, position[e["label"]], e["onset"], e["offset"]) for i, clip in enumerate(clips) for e in clip]
        clip, label, onset, offset = zip(*rows, strict=True) if rows else ((), (), (), ())
        return cls(np.array(clip, np.int64), np.array(label, np.int64), np.array(onset, float), np.array(offset, float))

    def where(self, chosen: np.ndarray) -> "Events":
        """The events for which the boolean array `chosen` holds."""
        return Events(*(array[chosen] for array in self))

    def tags(self, clips: int, classes: int) -> np.ndarray:
        """Which classes have at least one event in a clip: bool (clips, classes)."""
        tags = np.zeros((clips, classes), bool)
        tags[self.clip, self.label] = True
        return tags


def decide(frames: np.ndarray, seconds: np.ndarray, frame_seconds: float, threshold: float, window: int) -> Events:
    """The events in frame probabilities (clips, frames, classes).

    A frame is active above `threshold`; a median filter of `window` frames (mirrored at the ends) runs over each
    class's binary decisions; a run of active frames is an event from its first frame's start to its last frame's end,
    cut at the clip's true length (`seconds`, one a clip).
    """
    active = median_filtered((frames > threshold).astype(np.int8), window)
    edges = np.diff(active.transpose(0, 2, 1), axis=2, prepend=0, append=0)
    clip, label, first = np.nonzero(edges == 1)
    end = np.nonzero(edges == -1)[2]
    events = Events(clip, label, first * frame_seconds, np.minimum(end * frame_seconds, seconds[clip]))
    return events.where(events.onset < events.offset)


def median_filtered(frames: np.ndarray, window: int) -> np.ndarray:
    """The median of `window` frames around each of (clips, frames, classes), mirrored at the ends."""
    from scipy.ndimage import median_filter

    filtered: np.ndarray = median_filter(frames, size=(1, window, 1))
    return filtered


def tag_counts(reference: np.ndarray, estimate: np.ndarray) -> Counts:
    """TP, FP, FN of boolean arrays of one shape: (…, 3)."""
    return np.stack([reference & estimate, estimate & ~reference, reference & ~estimate], axis=-1).astype(np.int64)


def segment_counts(
    reference: Events, estimate: Events, clips: int, classes: int, seconds: float = 1.0
) -> tuple[Counts, np.ndarray]:
    """Counts over segments of `seconds`, (clips, classes, 3): a class is active in every segment that it touches.

    And the errors of each clip (clips,): in a segment, a false class in place of a missed one is one error. A few clips
    are counted at a time, so that a late event does not fill the memory.
    """
    last = max(float(events.offset.max(initial=0)) for events in (reference, estimate))
    segments = int(np.ceil(last / seconds)) + 1

    def roll(events: Events, start: int, count: int) -> np.ndarray:
        events = events.where((events.clip >= start) & (events.clip < start + count))
        events = events._replace(clip=events.clip - start)
        steps = np.zeros((count, classes, segments + 1), np.int64)
        np.add.at(steps, (events.clip, events.label, np.floor(events.onset / seconds).astype(int)), 1)
        np.add.at(steps, (events.clip, events.label, np.ceil(events.offset / seconds).astype(int)), -1)
        return steps.cumsum(axis=2) > 0

    some = max(1, CELLS // (classes * (segments + 1)))
    counts, errors = np.zeros((clips, classes, 3), np.int64), np.zeros(clips, np.int64)
    for start in range(0, clips, some):
        count = min(some, clips - start)
        found = tag_counts(roll(reference, start, count), roll(estimate, start, count))
        counts[start : start + count] = found.sum(axis=2)
        errors[start : start + count] = found[..., 1:].sum(axis=1).max(axis=-1).sum(axis=-1)
    return counts, errors


def event_counts(
    reference: Events, estimate: Events, clips: int, classes: int, collar: float = 0.2, share: float = 0.2
) -> Counts:
    """Counts over events, (clips, classes, 3), with the largest possible one-to-one matching in each clip and class.

    An estimate may match a reference event of its class when the onsets differ by at most `collar` seconds and the
    offsets by at most the larger of `collar` and `share` of the reference event's length.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    reference_key, estimate_key = (events.clip * classes + events.label for events in (reference, estimate))
    total_reference = np.bincount(reference_key, minlength=clips * classes)
    total_estimate = np.bincount(estimate_key, minlength=clips * classes)
    # Every pair (theirs, ours) of a reference event and an estimate of the same clip and class.
    order = np.argsort(estimate_key, kind="stable")
    rivals = total_estimate[reference_key]
    theirs = np.repeat(np.arange(len(reference_key)), rivals)
    start = np.searchsorted(estimate_key[order], reference_key)
    ours = order[np.arange(rivals.sum()) - np.repeat(rivals.cumsum() - rivals - start, rivals)]
    allowed = np.maximum(collar, share * (reference.offset - reference.onset))[theirs]
    close = np.abs(reference.onset[theirs] - estimate.onset[ours]) <= collar
    close &= np.abs(reference.offset[theirs] - estimate.offset[ours]) <= allowed
    # Clips and classes are separate parts of one graph, so that one matching serves them all.
    shape = len(reference_key), len(estimate_key)
    graph = csr_array((close[close], (theirs[close], ours[close])), shape=shape)
    partner = maximum_bipartite_matching(graph, perm_type="column")  # of each reference event, -1 for none
    hits = np.bincount(reference_key[partner >= 0], minlength=clips * classes)
    counts = np.stack([hits, total_estimate - hits, total_reference - hits], axis=-1)
    return counts.reshape(clips, classes, 3)


def f1(counts: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN) of counts (…, 3), 0 where there is nothing to count."""
    hits, false, missed = np.moveaxis(counts, -1, 0)
    return ratio(2 * hits, 2 * hits + false + missed)


def precision(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FP) of counts (…, 3), 0 where nothing is put out."""
    return ratio(counts[..., 0], counts[..., 0] + counts[..., 1])


def recall(counts: np.ndarray) -> np.ndarray:
    """TP / (TP + FN) of counts (…, 3), 0 where there is nothing to find."""
    return ratio(counts[..., 0], counts[..., 0] + counts[..., 2])


def error_rate(counts: np.ndarray) -> np.ndarray:
    """(FP + FN) / (TP + FN) of one class's counts (…, 3), 0 where there is nothing to find: it may be above 1."""
    return ratio(counts[..., 1] + counts[..., 2], counts[..., 0] + counts[..., 2])


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """The quotient, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)


def micro_f1(counts: np.ndarray) -> np.ndarray:
    """F1 of the counts pooled over classes: (…, classes, 3) to (…)."""
    return f1(counts.sum(axis=-2))


def macro(score: Score, counts: np.ndarray, observed: bool = False) -> np.ndarray:
    """Mean over classes of a score of their counts: (…, classes, 3) to (…).

    A class without any reference has no score and is left out. A class that the system never puts out scores 0
    (sed_eval's `empty_system_output_handling="zero_score"`), or is left out too if `observed` (sed_eval's default).
    The mean over no class at all is 0.
    """
    hits, false, missed = np.moveaxis(counts, -1, 0)
    counted = (hits + missed > 0) & ((hits + false > 0) | (not observed))
    return ratio(np.where(counted, score(counts), 0).sum(axis=-1), counted.sum(axis=-1))


CLASS_SCORES: dict[str, Score] = {"f1": f1, "precision": precision, "recall": recall, "error_rate": error_rate}


def detection_scores(
    clip: np.ndarray, segment: np.ndarray, event: np.ndarray, segment_errors: np.ndarray
) -> dict[str, np.ndarray]:
    """All scores of summed counts (…, classes, 3) and errors (…): fractions, but for rates of errors."""
    tags, segments = clip.sum(axis=-2), segment.sum(axis=-2)
    return {
        "clip_micro_f1": f1(tags),
        "clip_micro_precision": precision(tags),
        "clip_micro_recall": recall(tags),
        "segment_micro_f1": f1(segments),
        "segment_micro_precision": precision(segments),
        "segment_micro_recall": recall(segments),
        "segment_error_rate": ratio(segment_errors, segments[..., 0] + segments[..., 2]),
        **{f"event_macro_{name}": macro(score, event) for name, score in CLASS_SCORES.items()},
        "event_macro_f1_observed": macro(f1, event, observed=True),
        "event_micro_f1": micro_f1(event),
    }


def official(
    reference: Events,
    estimate: Events,
    clips: int,
    labels: Sequence[str],
    segment_seconds: float = 1.0,
    collar: float = 0.2,
    share: float = 0.2,
) -> dict[str, float]:
    """The segment and event scores by sed_eval itself, clip by clip, clips without events included.

    NaN where sed_eval leaves a score undefined (a system without any output, a reference without any event).
    """
    with warnings.catch_warnings():  # its dependency dcase_util imports pkg_resources
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
        from sed_eval.sound_event import EventBasedMetrics, SegmentBasedMetrics

    names = list(labels)
    segment = SegmentBasedMetrics(names, time_resolution=segment_seconds)
    event, observed = (
        EventBasedMetrics(names, t_collar=collar, percentage_of_length=share, empty_system_output_handling=handling)
        for handling in ("zero_score", None)
    )
    for i in range(clips):
        pair = [
            [
                {"event_label": names[label], "onset": float(onset), "offset": float(offset)}
                for _, label, onset, offset in zip(*events.where(events.clip == i), strict=True)
            ]
            for events in (reference, estimate)
        ]
        segment.evaluate(*pair)
        event.evaluate(*pair)
    observed.overall, observed.class_wise = event.overall, event.class_wise  # the counts are the same

    def macro(metrics: Any, measure: str = "f_measure") -> float:
        referred = [name for name in names if metrics.class_wise[name]["Nref"]]
        found = [getattr(metrics, f"class_wise_{measure}")(name)[measure] for name in referred]
        return float(np.nanmean(found)) if found and not np.isnan(found).all() else float("nan")

    pooled = segment.overall_f_measure()
    return {
        "segment_micro_f1": pooled["f_measure"],
        "segment_micro_precision": pooled["precision"],
        "segment_micro_recall": pooled["recall"],
        "segment_error_rate": segment.overall_error_rate()["error_rate"] if segment.overall["Nref"] else float("nan"),
        "event_macro_f1": macro(event),
        "event_macro_error_rate": macro(event, "error_rate"),
        "event_macro_f1_observed": macro(observed),
        "event_micro_f1": event.overall_f_measure()["f_measure"],
    }


def verify(ours: Mapping[str, float], theirs: Mapping[str, float]) -> None:
    """Raises when our scores are not sed_eval's; what it leaves undefined is 0 here."""
    for name, value in theirs.items():
        if abs(ours[name] - np.nan_to_num(value)) > 1e-9:
            raise RuntimeError(f"{name} is {ours[name]} by our counts and {value} by sed_eval")
