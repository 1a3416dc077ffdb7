"""Settings of sound event detection from weak labels: a CRNN with feature fusion, trained with a mean teacher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from workflow_scripts.settings.base import Strict
from workflow_scripts.training.system import Count, Positive, Share, SteppedSystem

if TYPE_CHECKING:
    from workflow_scripts.models.crnn import CRNN


class Network(Strict):
    """The CRNN; defaults are those of Boes & Van hamme 2021, sections 2.1 and 3."""

    spectral: str | None = Field("spectral", description="the stream that the convolutions read, or null for none")
    projections: dict[str, Positive] = Field({}, description="pretrained streams and the sizes of their embeddings")
    channels: list[Positive] = Field([16, 32, 64, 128, 128, 128, 128], description="of the convolutions")
    pools: list[tuple[Positive, Positive]] = Field(
        [(2, 2), (2, 2), (1, 2), (1, 2), (1, 2), (1, 2), (1, 2)], description="(time, frequency) pools after them"
    )
    kernel: Positive = Field(3, description="size of the convolution kernels, odd")
    dropout: Share = Field(0.33, description="after every convolution and projection")
    hidden: Positive = Field(128, description="units of a GRU direction")
    layers: Positive = Field(2, description="layers of the GRU")

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if len(self.channels) != len(self.pools):
            raise ValueError(f"{len(self.channels)} channels need as many pools, found {len(self.pools)}")
        if self.kernel % 2 == 0:
            raise ValueError("an even kernel does not keep the number of frames")
        if not self.streams:
            raise ValueError("give a spectral stream or projections")
        return self

    @property
    def streams(self) -> list[str]:
        """The streams that the network reads, the spectral one first."""
        return [*([] if self.spectral is None else [self.spectral]), *self.projections]


class Optimisation(Strict):
    """The training; defaults are those of the paper's sections 2.3 and 4.3.1."""

    steps: Positive = Field(50_000, description="200 epochs of 250 batches")
    batch: dict[str, Positive] = Field({"weak": 24, "unlabelled": 24}, description="clips of each split in a batch")
    peak_rate: float = Field(1e-3, gt=0, description="highest learning rate")
    ramp_steps: Count = Field(12_500, description="steps until the highest learning rate")
    decay: float = Field(0.99995, gt=0, le=1, description="factor of the learning rate at every step after that")
    betas: tuple[Share, Share] = Field((0.9, 0.999), description="of Adam")
    consistency_weight: float = Field(2.0, ge=0, description="of both consistency terms")
    teacher_decay: Share = Field(0.999, description="limit of the teacher's moving average")


class System(SteppedSystem):
    """One experiment: its classes, network and optimisation, what to predict and how often to look."""

    classes: list[str] = Field(min_length=1, description="in the order of the outputs")
    frames: Positive = Field(151, description="output frames of a clip; pretrained streams are aligned to them")
    frame_seconds: float = Field(4 * 366 / 22_100, gt=0, description="hop of the output frames")
    network: Network = Field(default_factory=Network)
    optimisation: Optimisation = Field(default_factory=Optimisation)
    standardise: list[str] = Field(["spectral"], description="streams standardised per dimension over training clips")
    validation_split: str = Field("validation", description="split of the F1 scores in the history")
    validate_every: Positive = Field(2_500, description="steps between them")
    predict_splits: list[str] = Field(["validation", "test"], description="splits in the predictions")

    @property
    def streams(self) -> list[str]:
        """The feature streams that the system needs."""
        return self.network.streams

    def build(self, dimensions: dict[str, int]) -> CRNN:
        """The untrained network for features of the given sizes (torch's random numbers initialise it)."""
        from workflow_scripts.models.crnn import CRNN

        standardise = [name for name in self.streams if name in self.standardise]
        return CRNN(classes=len(self.classes), dimensions=dimensions, standardise=standardise, **dict(self.network))
