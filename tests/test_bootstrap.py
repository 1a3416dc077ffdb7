"""Intervals against closed forms and plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.metrics import bootstrap


def test_interval_of_a_share_is_the_normal_one() -> None:
    """One seed, 400 clips, 30 % right: p ± 1.96 √(p (1 - p) / n)."""
    right = np.repeat([1.0, 0.0], [120, 280])
    values = bootstrap.clip_weights(400, 4000, "test") @ right / 400
    low, high = bootstrap.interval(
        bootstrap.replicated_mean(values[None], values[None], 1, bootstrap.seed_draws(1, 4000, "S"))
    )
    half = 1.96 * math.sqrt(0.3 * 0.7 / 400)
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.004)


def test_interval_over_seeds_alone() -> None:
    """Seeds that differ and clips that do not: mean ± 1.96 s / √m, with the divisor m in s."""
    seeds = np.random.default_rng(0).normal(0.5, 0.1, 40)
    values = np.repeat(seeds[:, None], 4000, axis=1)
    low, high = bootstrap.interval(bootstrap.replicated_mean(values, values, 40, bootstrap.seed_draws(40, 4000, "S")))
    half = 1.96 * seeds.std() / math.sqrt(40)
    assert (low, high) == pytest.approx((seeds.mean() - half, seeds.mean() + half), abs=0.004)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(1)
    weights = bootstrap.clip_weights(80, 500, "test")
    draws = bootstrap.seed_draws(1, 500, "S")
    covered = 0
    for _ in range(300):
        values = weights @ (random.random(80) < 0.4) / 80
        low, high = bootstrap.interval(bootstrap.replicated_mean(values[None], values[None], 1, draws))
        covered += low <= 0.4 <= high
    assert 0.91 <= covered / 300 <= 0.985


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.data())
def test_selection_is_repeated_in_every_replicate(seeds: int, data: st.DataObject) -> None:
    """Against plain loops: draw seeds, rank the drawn, average the best."""
    count = data.draw(st.integers(1, seeds))
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    scores, ranking = random.random((2, seeds, 20))
    draws = bootstrap.seed_draws(seeds, 20, "S")
    expected = []
    for replicate, drawn in enumerate(draws):
        ranked = sorted(drawn, key=lambda seed: -ranking[seed, replicate])[:count]
        expected.append(np.mean([scores[seed, replicate] for seed in ranked]))
    assert bootstrap.replicated_mean(scores, ranking, count, draws) == pytest.approx(expected)


def test_selection_widens_with_the_ranking_and_not_with_the_test_score() -> None:
    """The best of 20 equal seeds by a noisy ranking is one random seed: as wide as one, not as the mean of 20."""
    random = np.random.default_rng(2)
    scores = np.repeat(random.normal(0.5, 0.1, 20)[:, None], 2000, axis=1)
    draws = bootstrap.seed_draws(20, 2000, "S")
    one = bootstrap.replicated_mean(scores, random.random((20, 2000)), 1, draws)
    every = bootstrap.replicated_mean(scores, scores, 20, draws)
    assert one.std() == pytest.approx(scores[:, 0].std(), rel=0.1)
    assert every.std() < one.std() / 3


def test_draws_depend_on_their_key_alone() -> None:
    assert (bootstrap.clip_weights(9, 5, "test") == bootstrap.clip_weights(9, 5, "test")).all()
    assert (bootstrap.clip_weights(9, 5, "test") != bootstrap.clip_weights(9, 5, "validation")).any()
    assert (bootstrap.clip_weights(9, 5, "test").sum(axis=1) == 9).all()
    assert (bootstrap.seed_draws(4, 50, "S") != bootstrap.seed_draws(4, 50, "SA")).any()
