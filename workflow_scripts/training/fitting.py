"""What a system does: it opens what the seeds of a job learn from, and fits each of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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


class Fitting(ABC):
    """The seeds of a job, by one system; the `run.py` in the system's folder exposes it as `Fitting`."""

    system: Any  # settings

    def __init__(self, job: TrainingJob) -> None:
        self.job, self.system = job, job.settings
        self.data = self.open(self.system, job)

    @abstractmethod
    def open(self, system: Any, job: TrainingJob) -> Any:
        """What all seeds learn from; what does not fit the settings, `system`, raises `UserError`."""

    @abstractmethod
    def fit(self, seed: int) -> Fit:
        """What is learned under a seed."""
