"""GAP, mAP, Hit@1 and PERR of YouTube-8M's lists, beside Google's algorithm and scikit-learn on dense matrices."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.stage import Stage, Work, within
from workflow_scripts.metrics import multilabel

CLASSES, TOP, LABELS = 4716, 20, 3  # predictions and labels of a video
BATCH = 1024  # videos that the dense ways are given at a time
NAMES = ("gap", "map", "hit_at_1", "perr")


def prepare(folder: Path, videos: int) -> None:
    """Classes and scores of the best predictions, (videos, 20), and labels, of which about half are predicted."""
    random = np.random.default_rng(0)
    width = CLASSES // TOP  # each place of a list has classes of its own, so that none stands twice
    best, others = (random.integers(0, width, size=(videos, TOP)) + width * np.arange(TOP) for _ in range(2))
    scores = -np.sort(-random.random((videos, TOP), np.float32), axis=1)
    labels = np.where(random.random((videos, TOP)) < 0.5, best, others)[:, :LABELS]
    np.savez(folder / "lists.npz", best=best, scores=scores, labels=labels)


def lists(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.load(folder / "lists.npz") as found:
        return found["best"], found["scores"], found["labels"]


def matrices(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Scores and labels as (videos, classes)."""
    best, scores, labels = lists(folder)
    shape = len(best), CLASSES
    matrix, truth = np.zeros(shape, np.float32), np.zeros(shape, bool)
    np.put_along_axis(matrix, best, scores, axis=1)
    np.put_along_axis(truth, labels, True, axis=1)
    return matrix, truth


def ours(folder: Path) -> Work:
    best, scores, labels = lists(folder)
    video = np.arange(len(best))

    def work() -> list[float]:
        ranked = multilabel.Ranked.of(np.repeat(video, TOP), best.ravel(), scores.ravel())
        truth = multilabel.Truth(np.repeat(video, LABELS), labels.ravel())
        found = multilabel.outcome(ranked, truth, len(best), CLASSES, TOP)
        values = multilabel.scores(found, np.ones((1, len(best))))
        return [float(values[name][0]) for name in NAMES]

    return work


def dense(folder: Path) -> Work:
    """numpy for the best of each video, scikit-learn for the average precision of each class."""
    from sklearn.metrics import average_precision_score

    matrix, truth = matrices(folder)

    def average_precision(scores: np.ndarray, correct: np.ndarray, positives: int) -> float:
        hits = int(correct.sum())
        return float(average_precision_score(correct, scores)) * hits / positives if hits else 0.0

    def work() -> list[float]:
        pooled = np.zeros(matrix.shape, bool)
        for start in range(0, len(matrix), BATCH):  # all at once, places alone would take 4 GB
            part = slice(start, start + BATCH)
            np.put_along_axis(pooled[part], np.argpartition(-matrix[part], TOP, axis=1)[:, :TOP], True, axis=1)
        positives, there = truth.sum(axis=0), pooled.T
        each = [average_precision(matrix[there[c], c], truth[there[c], c], positives[c]) for c in range(CLASSES)]
        equal = [row[np.argsort(-values)[: row.sum()]].mean() for values, row in zip(matrix, truth, strict=True)]
        gap = average_precision(matrix[pooled], truth[pooled], positives.sum())
        first = truth[np.arange(len(truth)), matrix.argmax(axis=1)].mean()
        return [gap, float(np.mean(each)), float(first), float(np.mean(equal))]

    return work


def google(folder: Path) -> Work:
    """The algorithm of google/youtube-8m (`eval_util.py`, `average_precision_calculator.py`), batch by batch."""
    matrix, truth = matrices(folder)

    def average_precision(pairs: list[tuple[float, bool]], positives: int) -> float:
        order = sorted(range(len(pairs)), key=lambda place: pairs[place][0], reverse=True)
        total, hits = 0.0, 0
        for rank, place in enumerate(order, 1):
            if pairs[place][1]:
                hits += 1
                total += hits / rank / positives
        return total

    def perr(predictions: np.ndarray, actual: np.ndarray) -> float:
        count = int(actual.sum())
        chosen = np.argpartition(predictions, -count)[-count:]
        return sum(actual[place] for place in chosen if predictions[place] > 0) / count

    def work() -> list[float]:
        lists_: list[list[tuple[float, bool]]] = [[] for _ in range(CLASSES)]
        pool: list[tuple[float, bool]] = []
        positives, first, equal = np.zeros(CLASSES, int), 0, 0.0
        for start in range(0, len(matrix), BATCH):
            predictions, actual = matrix[start : start + BATCH], truth[start : start + BATCH]
            first += int(actual[np.arange(len(actual)), predictions.argmax(axis=1)].sum())
            equal += sum(map(perr, predictions, actual))
            positives += actual.sum(axis=0)
            for values, row in zip(predictions, actual, strict=True):
                for place in np.argpartition(values, -TOP)[-TOP:]:
                    lists_[place].append((values[place], row[place]))
                    pool.append((values[place], row[place]))
        each = [average_precision(pairs, n) if n else 0.0 for pairs, n in zip(lists_, positives, strict=True)]
        videos = len(matrix)
        return [average_precision(pool, int(positives.sum())), float(np.mean(each)), first / videos, equal / videos]

    return work


def sorts(folder: Path) -> Work:
    best, scores, _ = lists(folder)
    keys = best.ravel().astype(np.uint64) << 32 | multilabel.descending(scores.ravel()).astype(np.uint64)
    sort: Callable[[np.ndarray], np.ndarray] = np.argsort
    return lambda: (sort(scores.ravel()), sort(keys))


STAGE = Stage(
    place=40,
    title=f"GAP and mAP, {CLASSES} classes",
    unit="videos",
    size=100_000,
    prepare=prepare,
    ours=ours,
    peers={"Google's algorithm": google, "numpy and scikit-learn, dense": dense},
    limit=("two sorts of the pool: by score, and by class and score", sorts),
    same=within(1e-5),  # equal scores, which Google's code shuffles, change the seventh digit
    repeats=5,
)
