"""What a way of training is: settings that a paper names, and how the seeds of a job are fitted with them.

Plans import systems to check settings, so that nothing heavy is imported before a job begins.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from workflow_scripts.settings.base import MANNER, Plugin

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from workflow_scripts.training.job import TrainingJob
    from workflow_scripts.training.loop import Run

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


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


class System(Plugin, ABC):
    """A way of training: the settings of an experiment.

    The folder of its name in `training/systems` exposes it as `System`.
    """

    parallel: ClassVar[bool] = False  # whether several processes may train it together

    @property
    def assets(self) -> tuple[str, ...]:
        """The assets that training reads, such as published weights."""
        return ()

    @abstractmethod
    def data(self, job: TrainingJob) -> Any:
        """What all seeds of a job learn from, opened once; what does not fit the settings raises `UserError`."""

    @abstractmethod
    def fit(self, job: TrainingJob, data: Any, seed: int) -> Fit:
        """What is learned under a seed."""


class SteppedSystem(System, ABC):
    """A system whose network learns by steps, in the one loop that there is (`training/loop.py`)."""

    record_every: Annotated[Positive, MANNER] = Field(50, description="steps between two losses in the history")
    checkpoint_every: Annotated[Positive, MANNER] = Field(
        1000, description="steps between two checkpoints within an epoch, at whose end there is one in any case"
    )
    compile: bool = Field(False, description="let torch.compile make the network faster, which takes minutes at first")

    @abstractmethod
    def run(self, job: TrainingJob, data: Any, seed: int) -> Run:
        """The network with its first weights (torch's random numbers initialise it), and how it learns and predicts."""

    def fit(self, job: TrainingJob, data: Any, seed: int) -> Fit:
        """The network after its last step."""
        import torch

        from workflow_scripts.training.loop import learn

        torch.manual_seed(seed)
        return learn(self.run(job, data, seed))
