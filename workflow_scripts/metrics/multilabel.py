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

from collections.abc import Iterable
from typing import NamedTuple, Self

import numpy as np

from workflow_scripts.metrics.external_sort import ExternalSort


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
    pool: Ranked  # the top k of each clip
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
    return Outcome(classes, truth, ranked.at(pooled), correct[pooled], first, equal)


class Sums(NamedTuple):
    """What the scores are made from in every replicate, weighted."""

    pooled: np.ndarray  # (replicates,): of precisions over all correct predictions of the pool
    by_class: np.ndarray  # (classes, replicates): the same in the list of each class
    positives: np.ndarray  # (classes, replicates): of true labels
    clips: np.ndarray  # (3, replicates): of clips, `first` and `equal`


def sums(parts: Iterable[tuple[Outcome, np.ndarray, np.ndarray]], weights: np.ndarray) -> Sums:
    """The sums over clips that come in parts, when their groups weigh `weights` (groups, replicates).

    A part is its outcome, the group of each clip, and for each prediction of the pool a number below 2³², lower where
    the score is higher. Memory is that of a part and of classes × replicates, however many the parts.
    """
    from workflow_scripts.metrics.precision import PrecisionSums, weight_sums

    clips = np.zeros((3, len(weights)))
    positives = np.zeros((0, weights.shape[1]))
    with ExternalSort() as pooled, ExternalSort() as by_class:
        for found, group, place in parts:
            if not len(positives):
                positives = np.zeros((found.classes, weights.shape[1]))
            weight_sums(found.truth.label, group[found.truth.clip], weights, positives)
            clips += [np.bincount(group, value, len(weights)) for value in (None, found.first, found.equal)]
            about = group[found.pool.clip].astype(np.uint32) << 1 | found.correct
            pooled.add(place.astype(np.uint64), about)
            by_class.add(found.pool.label.astype(np.uint64) << 32 | place.astype(np.uint64), about)
        results = []
        for ranked, lists in ((pooled, 1), (by_class, len(positives))):
            result = PrecisionSums(lists, weights)
            for key, about in ranked.blocks():
                result.add((key >> 32).astype(np.intp), key, about >> 1, about & 1 == 1)
            results.append(result.sums)
    return Sums(results[0][0], results[1], positives, clips @ weights)


def means(found: Sums, classes: int) -> dict[str, np.ndarray]:
    """Every score, each (replicates,), when there are so many classes; each replicate is scored on its own."""
    precision, labelled = ratio(found.by_class, found.positives), found.positives > 0
    return means_of(found, classes, precision.sum(axis=0), labelled.sum(axis=0))


def resampled_means(found: Sums) -> dict[str, np.ndarray]:
    """Every score, each (replicates,), of a sample, which is the first replicate, and of its resamples.

    All average over the same classes, those of the sample: one of which nothing is drawn has the sample's average
    precision. Left out, or counted 0, rare classes, which are often hard ones, would make each resample better, or
    worse, than the sample that it stands for. (How well a class of a single clip is known, no resample can tell.)
    """
    precision, positives = ratio(found.by_class, found.positives), found.positives
    precision = np.where(positives > 0, precision, precision[:, :1])
    return means_of(found, len(positives), precision.sum(axis=0), np.asarray(np.sum(positives[:, 0] > 0)))


def means_of(found: Sums, classes: int, precision: np.ndarray, labelled: np.ndarray) -> dict[str, np.ndarray]:
    """Every score from the sum of the classes' average precisions (replicates,), and how many have true labels."""
    return {
        "gap": ratio(found.pooled, found.positives.sum(axis=0)),
        "map": precision / classes,
        "map_positive_classes": ratio(precision, labelled),
        "hit_at_1": ratio(found.clips[1], found.clips[0]),
        "perr": ratio(found.clips[2], found.clips[0]),
    }


def head_and_tail(found: Sums, head: int) -> dict[str, np.ndarray]:
    """Mean average precision of the first `head` classes, of the others, and its fall from the former to the latter.

    Each (replicates,), over the classes of the sample that have true labels, as in `resampled_means`; NaN where there
    are none.
    """
    precision, positives = ratio(found.by_class, found.positives), found.positives
    precision = np.where(positives > 0, precision, precision[:, :1])
    labelled = positives[:, 0] > 0
    parts = (slice(None, head), slice(head, None))
    with np.errstate(invalid="ignore"):
        upper, lower = (precision[part].sum(axis=0) / labelled[part].sum() for part in parts)
    return {"map_head": upper, "map_tail": lower, "map_fall": upper - lower}


def descending(score: np.ndarray) -> np.ndarray:
    """Numbers below 2³² for float32 scores: the higher the score, the lower, and equal for equal ones."""
    bits = (score.astype(np.float32) + np.float32(0)).view(np.uint32)  # + 0 makes -0 a 0
    return np.where(bits >> 31, bits, ~(bits | np.uint32(1 << 31)))


def ratio(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    """The quotient, 0 where there is nothing to divide by."""
    return np.divide(upper, lower, out=np.zeros(np.broadcast(upper, lower).shape), where=lower > 0)


def class_average_precision(found: Sums) -> np.ndarray:
    """The average precision of each class in the first replicate, NaN for one without true labels: (classes,)."""
    positives = found.positives[:, 0]
    return np.where(positives > 0, ratio(found.by_class[:, 0], positives), np.nan)


def scores(found: Outcome, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every score, each (replicates,), when the clips weigh `weights` (replicates, clips), 0 or more.

    Each row of weights is scored on its own; whole weights give the same as clips that stand in the data so many times.
    """
    present, label = np.unique(found.truth.label, return_inverse=True)  # no other class has an average precision
    number = np.full(found.classes, len(present))  # the others share a list, in which nothing is correct
    number[present] = np.arange(len(present))
    part = found._replace(
        classes=len(present) + 1,
        truth=found.truth._replace(label=label),
        pool=found.pool._replace(label=number[found.pool.label]),
    )
    place = np.unique(-found.pool.score, return_inverse=True)[1]
    columns = np.ascontiguousarray(weights.T, dtype=float)
    return means(sums([(part, np.arange(len(found.first)), place)], columns), found.classes)
