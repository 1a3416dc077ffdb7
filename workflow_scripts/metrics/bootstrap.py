"""Percentile bootstrap over seeds and clips together, with any selection of seeds repeated inside each replicate.

Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13. Draws follow from their key alone: two
experiments scored on the same clips get the same resampled clips, so the difference of their scores is paired over
clips, while their seeds are drawn independently. With few seeds, m, the part of the width that comes from seeds is
too small by about √((m - 1) / m), as in any bootstrap.
"""

import hashlib

import numpy as np


def generator(*key: object) -> np.random.Generator:
    """A random generator that depends on the key alone, the same on every machine."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def clip_weights(clips: int, replicates: int, *key: object) -> np.ndarray:
    """How often each clip is drawn in each replicate, drawing `clips` times with replacement: (replicates, clips)."""
    return generator("clips", clips, *key).multinomial(clips, np.full(clips, 1 / clips), size=replicates)


def seed_draws(seeds: int, replicates: int, *key: object) -> np.ndarray:
    """The seeds drawn with replacement in each replicate: positions (replicates, seeds)."""
    return generator("seeds", seeds, *key).integers(seeds, size=(replicates, seeds))


def best(ranking: np.ndarray, count: int) -> np.ndarray:
    """Positions of the `count` highest values along the last axis, the first of equals first."""
    return np.argsort(-ranking, axis=-1, kind="stable")[..., :count]


def selected_mean(scores: np.ndarray, ranking: np.ndarray, count: int) -> float:
    """The mean score, of (seeds,), of the `count` seeds ranked highest."""
    return float(scores[best(ranking, count)].mean())


def replicated_mean(scores: np.ndarray, ranking: np.ndarray, count: int, draws: np.ndarray) -> np.ndarray:
    """`selected_mean` in every replicate: (replicates,).

    `scores` and `ranking` (seeds, replicates) are each seed's values on the replicate's clips, `draws`
    (replicates, seeds) the seeds drawn; a seed drawn twice can be selected twice.
    """
    replicate = np.arange(len(draws))[:, None]
    drawn_scores, drawn_ranking = scores.T[replicate, draws], ranking.T[replicate, draws]
    return np.take_along_axis(drawn_scores, best(drawn_ranking, count), axis=1).mean(axis=1)


def interval(replicates: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of replicated values (replicates,), those left out that are NaN: they drew no clip."""
    low, high = np.nanquantile(replicates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
