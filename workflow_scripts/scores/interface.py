"""What a family of metrics is.

A family is one file in `families/`, named as users write it, with one class `Scorer` made from the base below: its
fields are the settings, `records` turns predictions into an array a clip, and `aggregate` weighted arrays into scores.
A score that does not add up over clips can so be computed on every resample of the clips. Where it does follow from
sums, the base is `SummedFamily`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pyarrow as pa

from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import Plugin
from workflow_scripts.shards import Row

Assets = Mapping[str, Path]  # files by the ids of assets
NO_ASSETS: Assets = MappingProxyType({})
Parts = Iterable[tuple[np.ndarray, np.ndarray]]  # records of some clips, and the group in which each is drawn


class MetricFamily(Plugin, ABC):
    """Settings of a family of metrics and its two steps.

    `whole` says that the record of a clip depends on the other clips of its split, which are then held in memory;
    `tried`, that it needs programs or networks of others, which `try_parts` tries before anything is trained.
    """

    whole: ClassVar[bool] = False
    tried: ClassVar[bool] = False

    @property
    @abstractmethod
    def metrics(self) -> Sequence[str]:
        """The names of the scores, by which tables ask for them."""

    @abstractmethod
    def records(self, predictions: pa.Table, references: Sequence[Row], assets: Assets = NO_ASSETS) -> np.ndarray:
        """What the scores of each clip are made from, clip axis first, of one seed and split: (clips, …).

        `predictions` is what a training system wrote, in its schema's metadata the names of the classes; `references`
        are the manifest's rows of the same clips. Predictions or references that cannot be scored are a `UserError`.
        """

    @abstractmethod
    def aggregate(self, records: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The scores, fractions, each (replicates,), when the clips of `records` weigh `weights` (replicates, clips).

        NaN where what a metric needs is not there.
        """

    def replicate(self, parts: Parts, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The scores, each (replicates,), when the groups weigh `weights` (groups, replicates), whole numbers.

        The first replicate is the sample itself, each group once. All records are held in memory, which a family of
        millions of clips does better.
        """
        records, groups = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return self.aggregate(records, weights[groups].T.astype(float))

    def try_parts(self, assets: Assets) -> None:
        """Tries what it needs beside this project's code on a few clips; what is missing or broken is a `UserError`."""

    def class_average_precision(self, parts: Iterable[np.ndarray]) -> np.ndarray:
        """The average precision of each class from records, NaN for one without true labels: (classes,)."""
        raise UserError("this family of metrics has no average precision of each class")


class SummedFamily(MetricFamily):
    """A family whose scores follow from sums over clips, of which those of each group are kept."""

    @abstractmethod
    def scores(self, sums: np.ndarray, clips: np.ndarray) -> dict[str, np.ndarray]:
        """The scores, each (replicates,), from weighted sums of records (replicates, …) and of clips (replicates,)."""

    def aggregate(self, records: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        sums = weights @ records.reshape(len(records), -1).astype(float)
        return self.scores(sums.reshape(len(weights), *records.shape[1:]), weights.sum(axis=1))

    def replicate(self, parts: Parts, weights: np.ndarray) -> dict[str, np.ndarray]:
        from scipy.sparse import csr_array

        sums: np.ndarray | float = 0.0
        clips, shape = np.zeros(len(weights)), ()
        for records, groups in parts:
            shape = records.shape[1:]
            members = csr_array((np.ones(len(groups)), (groups, np.arange(len(groups)))), (len(weights), len(groups)))
            sums = sums + members @ records.reshape(len(records), -1).astype(float)
            clips += np.bincount(groups, minlength=len(clips))
        columns = weights.T.astype(float)
        return self.scores((columns @ sums).reshape(len(columns), *shape), columns @ clips)
