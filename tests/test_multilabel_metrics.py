"""Scores of ranked labels against the reference's own numbers, scikit-learn, and a plain version of the definitions."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from workflow_scripts.metrics import multilabel

Case = tuple[np.ndarray, np.ndarray]  # scores and labels, (clips, classes); a score of NaN is no prediction

seeds = st.integers(0, 2**32 - 1)


def case(seed: int, ties: bool = False, gaps: bool = True) -> Case:
    """A few clips and classes; some clips without labels, some predictions below 0 or not there."""
    random = np.random.default_rng(seed)
    shape = random.integers(1, 9), random.integers(1, 7)
    if ties:
        scores = random.integers(-1, 3, size=shape).astype(float)
    else:
        scores = random.permutation(np.prod(shape)).reshape(shape) / np.prod(shape) - 0.2
    if gaps:
        scores[random.random(shape) < 0.3] = np.nan
    return scores, (random.random(shape) < random.choice([0.1, 0.4])).astype(int)


def found(scores: np.ndarray, labels: np.ndarray, top_k: int, seed: int = 0) -> multilabel.Outcome:
    """The sparse form of a case, its predictions shuffled."""
    clip, label = np.nonzero(~np.isnan(scores))
    order = np.random.default_rng(seed).permutation(len(clip))
    ranked = multilabel.Ranked.of(clip[order], label[order], scores[clip, label][order])
    return multilabel.outcome(ranked, multilabel.Truth(*np.nonzero(labels)), *scores.shape, top_k)


def scored(scores: np.ndarray, labels: np.ndarray, top_k: int) -> dict[str, float]:
    """Every score of a case."""
    values = multilabel.scores(found(scores, labels, top_k), np.ones((1, len(scores))))
    return {name: float(value[0]) for name, value in values.items()}


def plain(scores: np.ndarray, labels: np.ndarray, top_k: int) -> dict[str, float]:
    """The definitions, clip by clip and prediction by prediction; scores must not tie."""

    def average_precision(pool: list[tuple[float, int]], positives: int) -> float:
        hits, total = 0, 0.0
        for place, (_, correct) in enumerate(sorted(pool, reverse=True), 1):
            hits += correct
            total += correct * hits / place
        return total / positives if positives else 0.0

    pools: list[list[tuple[float, int]]] = [[] for _ in range(scores.shape[1])]
    first, equal = [], []
    for values, truth in zip(scores, labels, strict=True):
        best = sorted((-value, label) for label, value in enumerate(values) if not np.isnan(value))
        for value, label in best[:top_k]:
            pools[label].append((-value, int(truth[label])))
        first.append(float(truth[best[0][1]]) if best else 0.0)
        right = sum(truth[label] for value, label in best[: truth.sum()] if -value > 0)
        equal.append(right / truth.sum() if truth.sum() else 0.0)
    positives = labels.sum(axis=0)
    each = [average_precision(pool, count) for pool, count in zip(pools, positives, strict=True)]
    known = [value for value, count in zip(each, positives, strict=True) if count]
    return {
        "gap": average_precision([entry for pool in pools for entry in pool], int(positives.sum())),
        "map": float(np.mean(each)),
        "map_positive_classes": float(np.mean(known)) if known else 0.0,
        "hit_at_1": float(np.mean(first)),
        "perr": float(np.mean(equal)),
    }


@pytest.mark.parametrize(("top_k", "name"), [(3, "top3"), (6, "all6")])
def test_the_reference_calculators_agree(shared: Path, top_k: int, name: str) -> None:
    golden = json.loads((shared / "papers" / "yt8m_text" / "metric_golden.json").read_text())
    scores, labels = np.array(golden["predictions"]), np.array(golden["labels"])
    ours, theirs = scored(scores, labels, top_k), golden[name]
    assert ours["gap"] == pytest.approx(theirs["gap"], abs=1e-12)
    assert ours["map"] == pytest.approx(theirs["map"], abs=1e-12)
    assert ours["map_positive_classes"] == pytest.approx(sum(theirs["aps"]) / (labels.sum(axis=0) > 0).sum(), abs=1e-12)
    assert ours["hit_at_1"] == pytest.approx(golden["top3"]["hit1"])
    assert ours["perr"] == pytest.approx(golden["top3"]["perr"])
    each = found(scores, labels, top_k)
    part = each, np.zeros(len(scores), int), multilabel.descending(each.pool.score)
    average = multilabel.class_average_precision(multilabel.sums([part], np.ones((1, 1))))
    assert np.nan_to_num(average) == pytest.approx(theirs["aps"], abs=1e-12)
    assert (np.isnan(average) == (labels.sum(axis=0) == 0)).all()


@settings(max_examples=200, deadline=None)
@given(seeds, st.integers(1, 7))
def test_scores_follow_the_definitions(seed: int, top_k: int) -> None:
    scores, labels = case(seed)
    assert scored(scores, labels, top_k) == pytest.approx(plain(scores, labels, top_k), abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(seeds)
def test_equal_scores_share_their_place_as_in_scikit_learn(seed: int) -> None:
    scores, labels = case(seed, ties=True, gaps=False)
    if not labels.any():
        return
    ours = scored(scores, labels, scores.shape[1])
    assert ours["gap"] == pytest.approx(average_precision_score(labels.ravel(), scores.ravel()), abs=1e-12)
    present = np.flatnonzero(labels.any(axis=0))
    each = [average_precision_score(labels[:, label], scores[:, label]) for label in present]
    assert ours["map_positive_classes"] == pytest.approx(np.mean(each), abs=1e-12)
    assert ours["map"] == pytest.approx(sum(each) / labels.shape[1], abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(seeds, st.integers(1, 4), st.booleans())
def test_a_weight_is_a_number_of_copies(seed: int, top_k: int, ties: bool) -> None:
    scores, labels = case(seed, ties)
    weights = np.random.default_rng(seed).integers(0, 4, size=(5, len(scores)))
    weights[:, 0] += weights.sum(axis=1) == 0
    weighted = multilabel.scores(found(scores, labels, top_k), weights.astype(float))
    for replicate, row in enumerate(weights):
        copies = np.repeat(np.arange(len(scores)), row)
        expected = scored(scores[copies], labels[copies], top_k)
        assert {name: value[replicate] for name, value in weighted.items()} == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_scores_do_not_depend_on_the_order_of_clips_or_the_unit_of_weight(seed: int) -> None:
    scores, labels = case(seed, ties=True)
    order = np.random.default_rng(seed).permutation(len(scores))
    assert scored(scores[order], labels[order], 2) == pytest.approx(scored(scores, labels, 2), abs=1e-12)
    once, thrice = (multilabel.scores(found(scores, labels, 2, 1), np.full((1, len(scores)), w)) for w in (1.0, 0.3))
    assert once == {name: pytest.approx(value, abs=1e-9) for name, value in thrice.items()}


def test_clips_without_labels_or_predictions_count_zero() -> None:
    """A clip that is right, one without labels, one without predictions."""
    none = np.nan
    scores, labels = np.array([[0.9, none], [0.8, 0.7], [none, none]]), np.array([[1, 0], [0, 0], [0, 1]])
    assert scored(scores, labels, 2) == pytest.approx(
        {"gap": 1 / 2, "map": 1 / 2, "map_positive_classes": 1 / 2, "hit_at_1": 1 / 3, "perr": 1 / 3}
    )
    empty = np.full((2, 3), none)
    assert set(scored(empty, np.eye(2, 3, dtype=int), 2).values()) == {0.0}
    assert set(scored(np.ones((2, 3)), np.zeros((2, 3), int), 2).values()) == {0.0}


def test_predictions_not_above_zero_are_wrong_in_perr_only() -> None:
    scored_low = scored(np.array([[0.0, -1.0]]), np.array([[1, 0]]), 2)
    assert scored_low == {"gap": 1, "map": 0.5, "map_positive_classes": 1, "hit_at_1": 1, "perr": 0}


def test_of_equal_scores_in_a_clip_the_lower_class_is_first() -> None:
    scores = np.array([[0.5, 0.5, 0.5]])
    for label, hit in ((0, 1.0), (1, 0.0)):
        labels = np.eye(3, dtype=int)[[label]]
        values = scored(scores, labels, 1)
        assert (values["hit_at_1"], values["perr"], values["gap"]) == (hit, hit, hit)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(-2, 2)), unique_by=lambda p: p[:2]))
def test_predictions_are_ranked_by_clip_score_and_class(given_in_any_order: list[tuple[int, int, int]]) -> None:
    columns = np.array(given_in_any_order, int).reshape(-1, 3).T
    ranked = multilabel.Ranked.of(*columns[:2], columns[2].astype(float))
    expected = sorted(given_in_any_order, key=lambda p: (p[0], -p[2], p[1]))
    assert list(zip(*(array.tolist() for array in ranked), strict=True)) == expected
    clips = [clip for clip, _, _ in expected]
    assert ranked.ranks().tolist() == [n - clips.index(clip) for n, clip in enumerate(clips)]
