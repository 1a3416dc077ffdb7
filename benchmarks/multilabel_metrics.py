"""GAP, mAP, Hit@1 and PERR from sparse lists: ours beside a plain version on dense matrices, in one run.

    python -m benchmarks.multilabel_metrics --videos 5000 --many 100000

Prints the seconds and the peak memory of each on the same videos and their ratios, then ours alone on many videos and
on bootstrap resamples; the scores are checked to be the same. The dense version takes numpy for the best of each video
and scikit-learn for the average precision of each class.
"""

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import typer

from workflow_scripts.errors import run
from workflow_scripts.metrics import bootstrap, multilabel

TOP, LABELS = 20, 3  # of a video


def lists(videos: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes and scores of the best predictions, (videos, 20), and three labels, of which about half are predicted."""
    random = np.random.default_rng(0)
    width = classes // TOP  # each place of a list has classes of its own, so that none stands twice
    best = random.integers(0, width, size=(videos, TOP)) + width * np.arange(TOP)
    scores = -np.sort(-random.random((videos, TOP)), axis=1)
    others = random.integers(0, width, size=(videos, TOP)) + width * np.arange(TOP)
    labels = np.where(random.random((videos, TOP)) < 0.5, best, others)[:, :LABELS]
    return best, scores, labels


def sparse(best: np.ndarray, scores: np.ndarray, labels: np.ndarray, classes: int) -> multilabel.Outcome:
    """The lists as our metrics want them."""
    video = np.arange(len(best))
    ranked = multilabel.Ranked.of(np.repeat(video, TOP), best.ravel(), scores.ravel())
    truth = multilabel.Truth(np.repeat(video, LABELS), labels.ravel())
    return multilabel.outcome(ranked, truth, len(best), classes, TOP)


def dense(matrix: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The same scores from matrices (videos, classes)."""
    from sklearn.metrics import average_precision_score

    pooled = np.zeros(matrix.shape, bool)
    np.put_along_axis(pooled, np.argpartition(-matrix, TOP, axis=1)[:, :TOP], True, axis=1)

    def average_precision(scores: np.ndarray, correct: np.ndarray, positives: int) -> float:
        hits = int(correct.sum())
        return float(average_precision_score(correct, scores)) * hits / positives if hits else 0.0

    positives = truth.sum(axis=0)
    each = np.array([
        average_precision(matrix[pooled[:, c], c], truth[pooled[:, c], c], positives[c]) for c in range(truth.shape[1])
    ])  # fmt: skip
    equal = [row[np.argsort(-values)[: row.sum()]].mean() for values, row in zip(matrix, truth, strict=True)]
    return {
        "gap": average_precision(matrix[pooled], truth[pooled], positives.sum()),
        "map": float(each.mean()),
        "map_positive_classes": float(each[positives > 0].mean()),
        "hit_at_1": float(truth[np.arange(len(truth)), matrix.argmax(axis=1)].mean()),
        "perr": float(np.mean(equal)),
    }


def measured(function: Callable[[], Any], repeats: int = 1) -> tuple[Any, float, float]:
    """The result, the fewest seconds of some runs, and the peak of memory in MB of one more."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result, min(times), peak / 1e6


def main(
    videos: Annotated[int, typer.Option(min=1, help="videos that both score")] = 5000,
    many: Annotated[int, typer.Option(min=1, help="videos that ours scores alone")] = 100_000,
    classes: Annotated[int, typer.Option(min=2 * TOP, help="classes")] = 4716,
    replicates: Annotated[int, typer.Option(min=1, help="bootstrap resamples, of 1,000 videos")] = 1001,
) -> None:
    """Measures both."""

    def ours(best: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        values = multilabel.scores(sparse(best, scores, labels, classes), np.ones((1, len(best))))
        return {name: float(value[0]) for name, value in values.items()}

    both = lists(videos, classes)
    matrix, truth = np.zeros((videos, classes), np.float32), np.zeros((videos, classes), bool)
    np.put_along_axis(matrix, both[0], both[1].astype(np.float32), axis=1)
    np.put_along_axis(truth, both[2], True, axis=1)
    held = (matrix.nbytes + truth.nbytes) / 1e6
    values, seconds, memory = measured(lambda: ours(both[0], both[1].astype(np.float32), both[2]), 3)
    expected, dense_seconds, dense_memory = measured(lambda: dense(matrix, truth))
    for name, value in expected.items():
        if abs(values[name] - value) > 1e-9:
            raise RuntimeError(f"{name} is {values[name]} from lists and {value} from matrices")
    lists_held = sum(array.nbytes for array in both) / 1e6
    line: dict[str, Any] = {"videos": videos, "classes": classes, "seconds": seconds, "dense_seconds": dense_seconds}
    line |= {"ratio": dense_seconds / seconds, "megabytes": memory + lists_held, "dense_megabytes": dense_memory + held}
    line["memory_ratio"] = line["dense_megabytes"] / line["megabytes"]
    report(line)

    large = lists(many, classes)
    _, seconds, memory = measured(lambda: ours(*large), 3)
    held = sum(array.nbytes for array in large) / 1e6
    report({"videos": many, "classes": classes, "seconds": seconds, "megabytes": memory + held,
            "matrix_megabytes": many * classes * 5 / 1e6})  # fmt: skip

    few = lists(1000, classes)
    found, weights = sparse(*few, classes=classes), bootstrap.clip_weights(1000, replicates, "benchmark")
    _, seconds, memory = measured(lambda: multilabel.scores(found, weights), 3)
    report({"videos": 1000, "classes": classes, "replicates": replicates, "seconds": seconds, "megabytes": memory})


def report(line: dict[str, Any]) -> None:
    """One line of JSON."""
    typer.echo(json.dumps({name: round(value, 3) for name, value in line.items()}))


if __name__ == "__main__":
    run(lambda: typer.run(main))
