"""Many labels a clip out of many classes: GAP, mAP, Hit@1 and PERR from each clip's ranked list of classes."""

import json
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from pydantic import Field

from workflow_scripts.errors import UserError
from workflow_scripts.metrics import multilabel
from workflow_scripts.scores.interface import NO_ASSETS, Assets, MetricFamily, Parts
from workflow_scripts.shards import Row, stack

CLASSES, RIGHT, LISTS = 0, 1, 2  # places in a record


class Scorer(MetricFamily):
    """How long the lists are.

    A clip's record holds the number of classes, how many of as many predictions as it has labels are right, then the
    classes of the `top_k` best predictions, their scores, and the true classes, up to `max_labels`; unused places are
    -1.
    """

    top_k: int = Field(20, ge=1, le=10_000, description="predictions of a clip that enter GAP and mAP")
    max_labels: int = Field(64, ge=1, le=10_000, description="labels that a clip may have at most")

    head: int = Field(
        10,
        ge=1,
        description="how many classes, those of the lowest numbers, which in YouTube-8M are the most frequent, are the "
        "head of the long tail",
    )

    @property
    def metrics(self) -> Sequence[str]:
        return "gap", "map", "map_positive_classes", "hit_at_1", "perr", "map_head", "map_tail", "map_fall"

    def records(self, predictions: pa.Table, references: Sequence[Row], assets: Assets = NO_ASSETS) -> np.ndarray:
        """What the scores of each clip are made from: (clips, 2 + 2 * top_k + max_labels), float32.

        `predictions` has `classes` and `scores` of the same length k, and the names of the classes in its schema's
        metadata; `references` are the manifest rows of the same clips, whose labels are class numbers as text. PERR
        uses as many predictions as a clip has labels, so k should not be below that.
        """
        count = len(json.loads(predictions.schema.metadata[b"classes"]))
        classes, scores = stack(predictions, "classes"), stack(predictions, "scores").astype(float)
        if not np.isfinite(scores).all():
            clip = references[int(np.argmin(np.isfinite(scores).all(axis=1)))]["clip_id"]
            raise UserError(f"clip {clip}: a score is not a finite number; look at how its training went")
        if classes.size and not 0 <= classes.min() <= classes.max() < count:
            raise UserError(f"the predictions name class {classes.min()} to {classes.max()}; there are {count} classes")
        labels = [self.labels(row, count) for row in references]
        truth = multilabel.Truth(
            np.repeat(np.arange(len(labels)), [len(found) for found in labels]),
            np.array([label for found in labels for label in found], int),
        )
        clip = np.repeat(np.arange(len(classes)), classes.shape[1])
        ranked = multilabel.Ranked.of(clip, classes.ravel(), scores.ravel())
        found = multilabel.outcome(ranked, truth, len(labels), count, self.top_k)
        kept = min(self.top_k, classes.shape[1])

        records = np.full((len(labels), LISTS + 2 * self.top_k + self.max_labels), -1, np.float32)
        records[:, CLASSES], records[:, RIGHT] = count, np.rint(found.equal * [len(own) for own in labels])
        own_classes, own_scores, own_labels = self.lists(records)
        own_classes[:, :kept] = ranked.label.reshape(classes.shape)[:, :kept]
        own_scores[:, :kept] = ranked.score.reshape(classes.shape)[:, :kept]
        for record, clip_labels in zip(own_labels, labels, strict=True):
            record[: len(clip_labels)] = clip_labels
        return records

    def labels(self, row: Row, classes: int) -> list[int]:
        """The class numbers of a clip's labels."""
        clip, labels = row["clip_id"], row["labels"]
        if labels is None:
            raise UserError(f"clip {clip}: has no labels in the manifest, so it cannot be scored; predict other splits")
        for label in labels:
            if not (label.isdecimal() and int(label) < classes):
                raise UserError(f"clip {clip}: its label '{label}' is not a class number below {classes}")
        found = sorted({int(label) for label in labels})
        if len(found) > self.max_labels:
            raise UserError(f"clip {clip}: has {len(found)} labels; raise 'max_labels', which is {self.max_labels}")
        return found

    def lists(self, records: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Views of the predicted classes, their scores and the true classes in records."""
        classes, scores, labels = np.split(records, [LISTS + self.top_k, LISTS + 2 * self.top_k], axis=1)
        return classes[:, LISTS:], scores, labels

    def outcome(self, records: np.ndarray) -> multilabel.Outcome:
        """The same as the metrics want it."""
        classes, scores, labels = self.lists(records)
        clip, place = np.nonzero(classes >= 0)
        ranked = multilabel.Ranked(clip, classes[clip, place].astype(int), scores[clip, place])
        clip, place = np.nonzero(labels >= 0)
        truth = multilabel.Truth(clip, labels[clip, place].astype(int))
        count = int(records[0, CLASSES]) if len(records) else 1
        found = multilabel.outcome(ranked, truth, len(records), count, self.top_k)
        equal = records[:, RIGHT] / np.maximum(np.bincount(truth.clip, minlength=len(records)), 1)
        return found._replace(equal=equal)  # may have come from longer lists

    def aggregate(self, records: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Each row of weights on its own, and the head and tail over the classes that have labels in the first."""
        found = self.sums([(records, np.arange(len(records)))], np.ascontiguousarray(weights.T, dtype=float))
        return multilabel.scores(self.outcome(records), weights) | multilabel.head_and_tail(found, self.head)

    def sums(self, parts: Parts, weights: np.ndarray) -> multilabel.Sums:
        """What the scores are made from when the groups of clips weigh `weights` (groups, replicates)."""
        outcomes = ((self.outcome(records), groups) for records, groups in parts)
        return multilabel.sums(
            ((found, groups, multilabel.descending(found.pool.score)) for found, groups in outcomes), weights
        )

    def replicate(self, parts: Parts, weights: np.ndarray) -> dict[str, np.ndarray]:
        found = self.sums(parts, weights)
        return multilabel.resampled_means(found) | multilabel.head_and_tail(found, self.head)

    def class_average_precision(self, parts: Iterable[np.ndarray]) -> np.ndarray:
        alone = ((records, np.zeros(len(records), int)) for records in parts)
        return multilabel.class_average_precision(self.sums(alone, np.ones((1, 1))))
