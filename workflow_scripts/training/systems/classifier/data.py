"""Clips with one class each, to learn from and to predict."""

import numpy as np

from workflow_scripts.errors import UserError
from workflow_scripts.shards import Row
from workflow_scripts.training.clips import load_clips, multi_hot
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.classifier.settings import System


class Data:
    """The clips of an experiment; the places of those to learn from, to validate with, and to predict."""

    def __init__(self, system: System, job: TrainingJob) -> None:
        splits = list(dict.fromkeys([system.train_split, system.validation_split, *system.predict_splits]))
        self.clips = load_clips(job, system.streams, splits)
        self.counts, self.left_out = self.clips.counts, self.clips.left_out
        self.training, self.validation = self.clips.of([system.train_split]), self.clips.of([system.validation_split])
        self.predicted = self.clips.of(system.predict_splits)
        if system.train_split not in system.predict_splits:
            count = min(system.predict_train, len(self.training))
            chosen = np.random.default_rng(0).choice(self.training, count, replace=False)
            self.predicted = np.concatenate([np.sort(chosen), self.predicted])
        known = np.concatenate([self.training, self.validation])
        self.targets = np.zeros(len(self.clips.rows), np.int64)
        self.targets[known] = class_numbers([self.clips.rows[place] for place in known], system.classes)
        self.learned_from = self.clips.digest(known)
        for name, stored in self.clips.features.items():
            rows, columns = stored.shape
            if rows != {"image": columns, "audio": 1}[name]:
                expected = "square pictures" if name == "image" else "one row of samples"
                raise UserError(f"features: '{name}' has clips of shape {(rows, columns)}, expected {expected}")

    def block(self, places: np.ndarray) -> Block:
        """The streams of some clips in their stored dtype, and their class numbers as `targets`."""
        return {"targets": self.targets[places], **{name: x[places] for name, x in self.clips.features.items()}}


def class_numbers(rows: list[Row], classes: list[str]) -> np.ndarray:
    """The place of each clip's only label among the classes: (clips,)."""
    targets = multi_hot(rows, classes)
    for row, total in zip(rows, targets.sum(axis=1), strict=True):
        if total != 1:
            raise UserError(f"clip '{row['clip_id']}': needs one label to learn from, has {row.get('labels')}")
    return targets.argmax(axis=1)
