"""What a family of metrics is.

A family is one file in `families/`, named as users write it, with one class `Scorer` made from the base below: its
fields are the settings, `records` turns predictions into an array a clip, and `aggregate` weighted arrays into scores.
A score that does not add up over clips can so be computed on every resample of the clips.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa

from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import Plugin
from workflow_scripts.shards import Row

Assets = Mapping[str, Path]  # files by the ids of assets
NO_ASSETS: Assets = MappingProxyType({})


class MetricFamily(Plugin, ABC):
    """Settings of a family of metrics and its two steps."""

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

    def class_average_precision(self, records: np.ndarray) -> np.ndarray:
        """The average precision of each class, NaN for one without true labels: (classes,)."""
        raise UserError("this family of metrics has no average precision of each class")
