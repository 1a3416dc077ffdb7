"""What a system does: it opens what the seeds of a job learn from, and fits each of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from workflow_scripts.training.job import TrainingJob


class Fit(ABC):
    """What was learned under one seed: all that the result files hold of it."""

    seed: int
    schema: pa.Schema  # of the predictions, one of training/outputs.py
    history: Sequence[Mapping[str, Any]]  # `step` and what was recorded there; complete when all is predicted

    @abstractmethod
    def predict(self) -> Iterator[dict[str, Any]]:
        """The rows of the predictions, without the seed."""

    def weights(self) -> Mapping[str, np.ndarray]:
        """What was learned, by the names of its parts."""
        return {}

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What there is to report that all seeds have in common."""

    def measures(self) -> dict[str, Any]:
        """What there is to report of this seed."""
        return {}

    def kept(self) -> dict[str, Any]:
        """What predicting needs of the training clips beside settings and weights, as JSON: classes, words, …"""
        return {}


class Known(NamedTuple):
    """Sizes that the data decide: `shapes` (frames, dimensions) of features, `classes` by head, and those of a lexicon.

    `used` are the settings of other experiments, by the role that these play.
    """

    shapes: Mapping[str, tuple[int, ...]]
    classes: Mapping[str, int]
    clusters: int
    vector: int
    used: Mapping[str, Any]


Forward = tuple[Any, tuple[Any, ...], bool]  # a network, what it is given of some clips, and whether it learns


class Fitting:
    """The seeds of a job, by one system; the `run.py` in the system's folder exposes it as `Fitting`."""

    open: ClassVar[Any]  # (system, job): what all seeds learn from, a class or a static function; unfit: `UserError`
    start: ClassVar[Any]  # (system, job, data, seed): a `Fit`

    def __init__(self, job: TrainingJob) -> None:
        self.job, self.system = job, job.settings
        self.data = self.open(self.system, job)

    def run(self, seed: int) -> Any:
        """A seed's `Fit` before it learns by steps, if it does."""
        return self.start(self.system, self.job, self.data, seed)

    def fit(self, seed: int) -> Any:
        """A seed's `Fit`, with what is learned."""
        return self.run(seed)

    @staticmethod
    def forwards(system: Any, known: Known, clips: int) -> Iterator[Forward]:
        """The networks that a step goes through, untrained, each with arguments for some clips; none: no steps.

        They are made and counted on the meta device (`training/costs.py`).
        """
        yield from ()
