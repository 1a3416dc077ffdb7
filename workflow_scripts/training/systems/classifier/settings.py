"""Settings of the classification of clips from pictures, raw sounds, or both, with early stopping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from workflow_scripts.settings.base import Strict
from workflow_scripts.training.system import Count, Positive, Share, SteppedSystem

if TYPE_CHECKING:
    from torch import nn


Kind = Literal["image", "audio", "audio_inception_time", "multimodal"]
FusionName = Literal[
    "concatenation", "addition", "multiplication", "maximum", "attention", "gated", "bilinear", "factorized_bilinear"
]
STREAMS: dict[str, list[str]] = {
    "image": ["image"],
    "audio": ["audio"],
    "audio_inception_time": ["audio"],
    "multimodal": ["image", "audio"],
}


class Sizes(Strict):
    """The networks' sizes; defaults are those of nora_fusion, sections 1.1, 1.2 and 1.5, and of InceptionTime."""

    image_channels: tuple[Positive, Positive] = Field((32, 64), description="of the convolutions over images")
    audio_channels: tuple[Positive, Positive] = Field((32, 64), description="of the convolutions over sounds")
    inner: Positive = Field(128, description="features of a modality, which are fused; a multiple of 8 for attention")
    head: Positive = Field(64, description="units between fused features and classes")
    dropout: Share = Field(0.5, description="after the second convolution, the inner features and in the head")
    depth: Positive = Field(6, description="modules of InceptionTime")
    filters: Positive = Field(32, description="of each of InceptionTime's convolutions")
    kernels: tuple[Positive, ...] = Field((39, 19, 9), min_length=1, description="of InceptionTime's convolutions")
    downsample: Positive = Field(1, description="samples averaged into one before InceptionTime")


class Optimisation(Strict):
    """The training; defaults are those of the paper's section 1.1 and its author's code."""

    batch: Positive = Field(32, description="clips in a batch; the last one of an epoch may be smaller")
    learning_rate: float = Field(1e-3, gt=0, description="of Adam")
    max_epochs: Positive = Field(100, description="epochs if early stopping does not end the training")
    patience: Positive = Field(5, description="epochs without a lower validation loss that end the training")


class System(SteppedSystem):
    """One experiment: its classes, network and optimisation, and what to predict."""

    revision = 2

    classes: list[str] = Field(min_length=2, description="in the order of the outputs")
    kind: Kind = Field(description="which network; all but `multimodal` read a single stream")
    fusion: FusionName | None = Field(None, description="of the inner features, for `multimodal` alone")
    sizes: Sizes = Field(default_factory=Sizes)
    optimisation: Optimisation = Field(default_factory=Optimisation)
    train_split: str = Field("train", description="split to learn from")
    validation_split: str = Field("validation", description="split whose loss chooses the epoch")
    predict_splits: list[str] = Field(["validation", "test"], description="splits in the predictions")
    predict_train: Count = Field(5, description="training clips in the predictions, the same random ones always")
    record_every: Positive = Field(50, description="steps between two losses in the history, which figures draw")

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if (self.kind == "multimodal") == (self.fusion is None):
            raise ValueError(f"the kind '{self.kind}' {'needs a' if self.fusion is None else 'takes no'} fusion")
        if self.fusion == "attention" and self.sizes.inner % 8:
            raise ValueError(f"attention has 8 heads, which cannot share {self.sizes.inner} inner features evenly")
        return self

    @property
    def streams(self) -> list[str]:
        """The feature streams that the system needs."""
        return STREAMS[self.kind]

    def build(self, dimensions: dict[str, int]) -> nn.Module:
        """The untrained network (torch's random numbers initialise it).

        `dimensions` are an image's side and the number of a sound's samples, by stream; absent ones keep the paper's.
        """
        from workflow_scripts.models.digits import build

        side, samples = dimensions.get("image", 28), dimensions.get("audio", 8000)
        return build(self.kind, self.fusion, classes=len(self.classes), side=side, samples=samples, **dict(self.sizes))
