"""Detection scores against sed_eval and scikit-learn, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from workflow_scripts.metrics import sed

LABELS = ["Cat", "Dog", "Speech"]

times = st.one_of(st.integers(0, 40).map(lambda n: n / 4), st.floats(0, 10, allow_nan=False).map(lambda x: round(x, 3)))
event = st.tuples(times, times, st.sampled_from(LABELS)).map(
    lambda e: {"onset": min(e[:2]), "offset": max(e[:2]), "label": e[2]}
)
clips = st.lists(st.tuples(st.lists(event, max_size=5), st.lists(event, max_size=5)), min_size=1, max_size=4)


def scores(reference: list, estimate: list, labels: list[str] = LABELS) -> dict[str, float]:
    """All scores of lists of events a clip."""
    shape = len(reference), len(labels)
    theirs, ours = sed.Events.of(reference, labels), sed.Events.of(estimate, labels)
    segments, errors = sed.segment_counts(theirs, ours, *shape)
    counts = (sed.tag_counts(theirs.tags(*shape), ours.tags(*shape)), segments, sed.event_counts(theirs, ours, *shape))
    sums = *(c.sum(axis=0) for c in counts), errors.sum()
    return {name: float(value) for name, value in sed.detection_scores(*sums).items()}


def one(onset: float, offset: float, label: str = "Dog") -> dict:
    return {"onset": onset, "offset": offset, "label": label}


@settings(max_examples=150, deadline=None)
@given(clips)
def test_scores_equal_sed_eval(pairs: list) -> None:
    """Duplicates, overlaps within a class, empty clips and zero-length events included."""
    # Half of each clip's reference events are put out again, a little late: matches, not only misses.
    reference = [theirs for theirs, _ in pairs]
    estimate = [ours + [{**e, "onset": e["onset"] + 0.1, "offset": e["offset"] + 0.1} for e in theirs[::2]]
                for theirs, ours in pairs]  # fmt: skip
    found = scores(reference, estimate)
    theirs, ours = sed.Events.of(reference, LABELS), sed.Events.of(estimate, LABELS)
    for name, value in sed.official(theirs, ours, len(pairs), LABELS).items():
        if np.isnan(value):
            assert found[name] == 0
        else:
            assert found[name] == pytest.approx(value, abs=1e-12), name


@settings(max_examples=50, deadline=None)
@given(clips)
def test_counts_equal_sed_eval_clip_by_clip(pairs: list) -> None:
    from sed_eval.sound_event import EventBasedMetrics, SegmentBasedMetrics

    theirs, ours = (sed.Events.of([pair[k] for pair in pairs], LABELS) for k in (0, 1))
    events = sed.event_counts(theirs, ours, len(pairs), len(LABELS))
    segments, _ = sed.segment_counts(theirs, ours, len(pairs), len(LABELS))
    for i, pair in enumerate(pairs):
        lists = [[{"event_label": e["label"], "onset": e["onset"], "offset": e["offset"]} for e in p] for p in pair]
        for metrics, counts in (
            (EventBasedMetrics(LABELS, t_collar=0.2, percentage_of_length=0.2), events),
            (SegmentBasedMetrics(LABELS, time_resolution=1.0), segments),
        ):
            metrics.evaluate(*lists)
            for c, label in enumerate(LABELS):
                expected = [metrics.class_wise[label][n] for n in ("Ntp", "Nfp", "Nfn")]
                assert counts[i, c].tolist() == expected


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_clip_micro_f1_equals_scikit_learn(seed: int) -> None:
    reference, estimate = np.random.default_rng(seed).random((2, 6, 3)) > 0.6
    expected = f1_score(reference, estimate, average="micro", zero_division=0)
    assert sed.micro_f1(sed.tag_counts(reference, estimate).sum(axis=0)) == pytest.approx(expected)


def test_offset_collar_is_the_larger_of_both_rules() -> None:
    """A 5-second event may end up to 1 s off (20 %), a half-second event up to 0.2 s."""
    assert scores([[one(0, 5)]], [[one(0.2, 5.9)]])["event_micro_f1"] == 1
    assert scores([[one(0, 5)]], [[one(0, 6.1)]])["event_micro_f1"] == 0
    assert scores([[one(0, 0.5)]], [[one(0, 0.65)]])["event_micro_f1"] == 1
    assert scores([[one(0, 0.5)]], [[one(0, 0.75)]])["event_micro_f1"] == 0
    assert scores([[one(1, 5)]], [[one(1.25, 5)]])["event_micro_f1"] == 0


def test_matching_is_the_largest_not_the_first() -> None:
    """The first estimate fits both reference events, the second only the first."""
    reference = [[one(1.0, 2.0), one(1.3, 2.3)]]
    assert scores(reference, [[one(1.15, 2.15), one(0.9, 1.9)]])["event_micro_f1"] == 1


def test_a_class_never_put_out_scores_zero_or_is_left_out() -> None:
    reference, estimate = [[one(0, 1), one(3, 4, "Cat")]], [[one(0, 1)]]
    found = scores(reference, estimate)
    assert (found["event_macro_f1"], found["event_macro_f1_observed"]) == (0.5, 1)
    assert found["event_micro_f1"] == pytest.approx(2 / 3)


def test_false_positives_in_a_clip_without_events_count() -> None:
    with_empty = scores([[one(0, 1)], []], [[one(0, 1)], [one(5, 6)]])
    assert with_empty["event_micro_f1"] == pytest.approx(2 / 3)
    assert with_empty["segment_micro_f1"] == pytest.approx(2 / 3)
    assert with_empty["clip_micro_f1"] == pytest.approx(2 / 3)


def test_a_silent_system_scores_zero() -> None:
    found = scores([[one(0, 1)]], [[]])
    assert {found.pop("segment_error_rate"), found.pop("event_macro_error_rate")} == {1}
    assert set(found.values()) == {0}


def test_segments_count_every_second_touched() -> None:
    """0.9 … 2.1 touches three seconds, of which the estimate has one, and one more of its own."""
    assert scores([[one(0.9, 2.1)]], [[one(2.0, 3.5)]])["segment_micro_f1"] == pytest.approx(2 / 5)


def test_decisions_close_gaps_drop_blips_and_end_with_the_clip() -> None:
    frames = np.zeros((1, 20, 2))
    frames[0, 2:8, 0] = 0.9
    frames[0, 5, 0] = 0.1  # a gap that the median filter closes
    frames[0, 12, 0] = 0.9  # a blip that it drops
    frames[0, 15:20, 1] = 0.9  # beyond the clip's true end
    frames[0, 10:13, 1] = 0.5  # at the threshold: not active
    events = sed.decide(frames, np.array([1.7]), 0.1, threshold=0.5, window=3)
    assert events.label.tolist() == [0, 1]
    assert events.onset == pytest.approx([0.2, 1.5])
    assert events.offset == pytest.approx([0.8, 1.7])
    assert not len(sed.decide(frames[:, 15:], np.array([0.0]), 0.1, 0.5, 3).clip)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 7]))
def test_decisions_are_the_runs_of_filtered_frames(seed: int, window: int) -> None:
    from scipy.signal import medfilt

    frames = np.random.default_rng(seed).random((2, 30, 2)).round(1)
    events = sed.decide(frames, np.array([3.0, 3.0]), 0.1, 0.5, window)
    painted = np.zeros(frames.shape, bool)
    for clip, label, onset, offset in zip(*events, strict=True):
        painted[clip, round(onset / 0.1) : round(offset / 0.1), label] = True
    half = window // 2
    for clip in range(2):
        for label in range(2):
            padded = np.pad(frames[clip, :, label] > 0.5, half, mode="symmetric").astype(float)
            filtered = medfilt(padded, window)[half : len(padded) - half] > 0.5
            assert painted[clip, :, label].tolist() == filtered.tolist()
