"""Scores of ranked labels: GAP, mAP, Hit@1 and PERR as the YouTube-8M starter code defines them, on sparse lists.

The definitions are those of google/youtube-8m, `eval_util.py`, `average_precision_calculator.py` and
`mean_average_precision_calculator.py`:

- a clip's `top_k` best predictions enter a pool; one outside of it does not exist for GAP and mAP;
- average precision is the sum over correct predictions of the precision at their place, divided by *all* true labels,
  those outside the pool included, and 0 where there is no true label;
- GAP takes the pool as one list, mAP one list a class. `map` is the mean over all classes (the code of 2017), where a
  class without true labels or without a pooled prediction counts 0; `map_positive_classes` is the mean over the classes
  that have true labels (the code of 2019);
- Hit@1 is the share of clips whose best prediction is true; PERR the mean over clips of the precision of as many best
  predictions as the clip has labels, those not above 0 being wrong. A clip without labels counts 0 in both.

Ties. Within a clip, of equal scores the lower class number stands first (as in the reference for Hit@1; in its top k
the choice is arbitrary). In the pool, equal scores share one place: the precision of each is that of the whole group,
as in scikit-learn's `average_precision_score`. So no score depends on the order of the clips, and weighing a clip w
times is the same as having it w times. The reference shuffles them instead, which gives coarse scores (votes) a little
more.
"""

from typing import NamedTuple, Self

import numpy as np

CELLS = 1 << 22  # numbers that an intermediate array of a chunk of replicates may hold


class Truth(NamedTuple):
    """True labels, one element a label; no label twice in a clip."""

    clip: np.ndarray  # int: position of the clip
    label: np.ndarray  # int: class number


class Ranked(NamedTuple):
    """Predictions, clip by clip, the best first; no class twice in a clip."""

    clip: np.ndarray  # int: position of the clip
    label: np.ndarray  # int: class number
    score: np.ndarray  # float

    @classmethod
    def of(cls, clip: np.ndarray, label: np.ndarray, score: np.ndarray) -> Self:
        """From predictions in any order."""
        given = cls(clip, label, score)
        if given.in_order().all():
            return given
        order = np.argsort(-score)
        order = order[np.argsort(clip[order], kind="stable")]
        found = given.at(order)
        tied = np.flatnonzero(np.isin(found.clip, found.clip[1:][~found.in_order()]))  # clips with equal scores
        part = found.at(tied)
        order[tied] = order[tied[np.lexsort((part.label, -part.score, part.clip))]]
        return given.at(order)

    def at(self, chosen: np.ndarray) -> Self:
        """Some of the predictions, or the same in another order."""
        return type(self)(*(array[chosen] for array in self))

    def in_order(self) -> np.ndarray:
        """Whether each prediction but the first may follow the one before it: bool, one element fewer."""
        ties = (self.score[1:] == self.score[:-1]) & (self.label[1:] > self.label[:-1])
        best = (self.clip[1:] == self.clip[:-1]) & ((self.score[1:] < self.score[:-1]) | ties)
        return best | (self.clip[1:] > self.clip[:-1])

    def ranks(self) -> np.ndarray:
        """The place of each prediction in its clip, from 0."""
        first = np.ones(len(self.clip), bool)
        first[1:] = self.clip[1:] != self.clip[:-1]
        starts = np.flatnonzero(first)
        return np.arange(len(self.clip)) - np.repeat(starts, np.diff(starts, append=len(self.clip)))


class Outcome(NamedTuple):
    """All that the scores of some clips are made from."""

    classes: int
    truth: Truth
    pool: Ranked  # the top k of each clip, all sorted by score, the highest first
    correct: np.ndarray  # bool: which of the pool is true
    first: np.ndarray  # (clips,): 1 where the best prediction is true
    equal: np.ndarray  # (clips,): precision of as many predictions as there are labels


def is_true(clip: np.ndarray, label: np.ndarray, truth: Truth, classes: int) -> np.ndarray:
    """Which pairs of clip and class are true labels: bool, one a pair; `classes` is above every class number."""
    if not len(truth.clip):
        return np.zeros(len(clip), bool)
    known = np.sort(truth.clip.astype(np.int64) * classes + truth.label)
    wanted = clip.astype(np.int64) * classes + label
    return known[np.minimum(np.searchsorted(known, wanted), len(known) - 1)] == wanted


def outcome(ranked: Ranked, truth: Truth, clips: int, classes: int, top_k: int = 20) -> Outcome:
    """Compares predictions with the true labels of `clips` clips; a clip may have none of either."""
    ranks, correct = ranked.ranks(), is_true(ranked.clip, ranked.label, truth, classes)
    labels = np.bincount(truth.clip, minlength=clips)
    right = correct & (ranked.score > 0) & (ranks < labels[ranked.clip])
    equal = np.bincount(ranked.clip[right], minlength=clips) / np.maximum(labels, 1)
    first = np.bincount(ranked.clip[correct & (ranks == 0)], minlength=clips).astype(float)
    pooled = np.flatnonzero(ranks < top_k)
    pooled = pooled[np.argsort(-ranked.score[pooled])]
    return Outcome(classes, truth, ranked.at(pooled), correct[pooled], first, equal)


class Lists:
    """The pool cut into ranked lists (one, or one a class), ready to be weighed again and again.

    The precision matters only where a correct prediction stands, so the predictions between two such places are
    summed in one product of a sparse matrix with the weights.
    """

    def __init__(self, key: np.ndarray, keys: int, found: Outcome) -> None:
        """`key` is the list of each prediction in the pool, of `keys` lists."""
        from scipy.sparse import csr_array

        order = np.argsort(key.astype(np.min_scalar_type(keys)), kind="stable")  # the highest score first in each list
        key, score, clip, correct = key[order], found.pool.score[order], found.pool.clip[order], found.correct[order]
        starts = np.ones(len(key), bool)
        starts[1:] = (key[1:] != key[:-1]) | (score[1:] != score[:-1])
        group = np.cumsum(starts) - 1  # predictions that share a place
        hit = np.zeros(int(starts.sum()), bool)
        hit[group[correct]] = True
        self.key = key[starts][hit]
        self.size = len(self.key)
        nearest = (np.cumsum(hit) - hit)[group]  # the first place with a hit at or after each prediction
        before = np.append(self.key, keys)[nearest] == key

        def sums(chosen: np.ndarray) -> "csr_array":
            counts = np.bincount(nearest[chosen], minlength=self.size)
            parts = np.ones(counts.sum()), clip[chosen], np.append(0, np.cumsum(counts))
            return csr_array(parts, shape=(self.size, len(found.first)))

        self.predictions, self.hits = sums(before), sums(correct)
        self.lists = csr_array(
            (np.ones(self.size), np.arange(self.size), np.searchsorted(self.key, np.arange(keys + 1))),
            shape=(keys, self.size),
        )

    def precision_sums(self, weights: np.ndarray) -> np.ndarray:
        """For weights (clips, replicates), the sum of precisions over the correct predictions: (keys, replicates)."""
        hits = self.hits @ weights
        return self.lists @ (hits * ratio(self.running(hits), self.running(self.predictions @ weights)))

    def running(self, sums: np.ndarray) -> np.ndarray:
        """The cumulative sums within each list."""
        total = np.cumsum(sums, axis=0)
        first = np.searchsorted(self.key, self.key)
        return total - np.where(first[:, None] > 0, total[first - 1], 0)


def label_sums(found: Outcome, label: np.ndarray, labels: int, weights: np.ndarray) -> np.ndarray:
    """The weight of the true labels by `label`, numbers below `labels`: (labels, replicates)."""
    from scipy.sparse import csr_array

    shape = labels, len(found.first)
    return csr_array((np.ones(len(label)), (label, found.truth.clip)), shape=shape) @ weights


def ratio(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """The quotient, 0 where there is nothing to divide by."""
    return np.divide(upper, lower, out=np.zeros(np.broadcast(upper, lower).shape), where=lower > 0)


def class_average_precision(found: Outcome) -> np.ndarray:
    """The average precision of each class, 0 for one without true labels: (classes,)."""
    weights = np.ones((len(found.first), 1))
    sums = Lists(found.pool.label, found.classes, found).precision_sums(weights)
    return ratio(sums, label_sums(found, found.truth.label, found.classes, weights))[:, 0]


def scores(found: Outcome, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every score, each (replicates,), when the clips weigh `weights` (replicates, clips), 0 or more.

    Each row of weights is scored on its own, in chunks of bounded memory; whole weights give the same as clips that
    stand in the data so many times.
    """
    present, label = np.unique(found.truth.label, return_inverse=True)  # no other class has an average precision
    number = np.full(found.classes, -1)
    number[present] = np.arange(len(present))
    known = number[found.pool.label] >= 0
    part = found._replace(pool=found.pool.at(known), correct=found.correct[known])
    pooled = Lists(np.zeros(len(found.pool.clip), np.intp), 1, found)
    by_class = Lists(number[part.pool.label], len(present), part)
    chunk = max(1, CELLS // max(pooled.size, len(present), len(found.first), 1))
    parts = []
    for start in range(0, len(weights), chunk):
        columns = np.ascontiguousarray(weights[start : start + chunk].T, dtype=float)
        positives = label_sums(found, label, len(present), columns)
        gap = ratio(pooled.precision_sums(columns)[0], positives.sum(axis=0))
        sums = ratio(by_class.precision_sums(columns), positives).sum(axis=0)
        means = [ratio(values @ columns, columns.sum(axis=0)) for values in (found.first, found.equal)]
        parts.append([gap, sums / found.classes, ratio(sums, (positives > 0).sum(axis=0)), *means])
    names = ("gap", "map", "map_positive_classes", "hit_at_1", "perr")
    return dict(zip(names, np.concatenate(parts, axis=1), strict=True))
