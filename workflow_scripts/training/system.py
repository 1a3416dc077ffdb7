"""What a way of training is, as far as a paper sets it: the settings of an experiment.

How it trains stands in the `run.py` beside its settings (`training/fitting.py`), which are so checked without anything
heavy being imported.
"""

from abc import ABC
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from workflow_scripts.settings.base import MANNER, Plugin

Positive = Annotated[int, Field(gt=0, le=10_000_000)]  # more of anything would fill any machine
Count = Annotated[int, Field(ge=0, le=10_000_000)]
Share = Annotated[float, Field(ge=0, lt=1)]


class System(Plugin, ABC):
    """The settings of an experiment; the folder of a way of training exposes its own as `System`."""

    parallel: ClassVar[bool] = False  # whether several processes may train it together

    @property
    def own_files(self) -> dict[str, Path]:
        """Files of the user's own that it reads, by what they are."""
        return {}


class SteppedSystem(System, ABC):
    """A system whose network learns by steps, in the one loop that there is (`training/loop.py`)."""

    record_every: Annotated[Positive, MANNER] = Field(50, description="steps between two losses in the history")
    checkpoint_every: Annotated[Positive, MANNER] = Field(
        1000, description="steps between two checkpoints within an epoch, at whose end there is another"
    )
    checkpoint_seconds: Annotated[float, Field(ge=0), MANNER] = Field(
        10, description="an epoch that ends sooner after a checkpoint has none, but for the last one"
    )
    micro_batch: Annotated[int | None, Field(ge=2), MANNER] = Field(
        None,
        description="the largest number of clips that a network learns from at once, for GPUs with little memory: the "
        "gradients of the parts of a batch add up to those of the whole; null: the whole batch. Rounding differs, and "
        "so do the random numbers that a network draws while it learns (dropout, dropped branches, noise, words that "
        "a decoder reads). Batch norm sees each part alone, its moving averages take a step for each part, and it "
        "needs 3 or more; networks with it (CRNN, ResNet, Slow-Fast, TBN, deep bag of frames, TextCNN) so learn "
        "something else",
    )
    compile: bool = Field(False, description="let torch.compile make the network faster, which takes minutes at first")
