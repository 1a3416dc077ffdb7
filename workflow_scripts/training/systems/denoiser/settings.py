"""Settings of BART's pretraining on texts (Lewis et al., "BART", ACL 2020, section 2.2: text infilling)."""

from __future__ import annotations

from pydantic import Field, model_validator

from workflow_scripts.settings.base import Strict
from workflow_scripts.training.schedules import Constant, Exponential, Steps
from workflow_scripts.training.system import Positive, Share, SteppedSystem
from workflow_scripts.training.systems.captioner.settings import Bart


class Corruption(Strict):
    """Text infilling: spans of tokens are replaced by one mask each, empty ones too, where a mask is so put in."""

    masked: Share = Field(0.3, description="share of a text's tokens that are masked")
    mean_span: float = Field(3, gt=0, description="mean of the Poisson distribution of a span's tokens")


class Optimisation(Strict):
    """The training by Adam."""

    learning_rate: float = Field(1e-3, gt=0, description="at its peak")
    weight_decay: float = Field(0, ge=0, description="of all weights, added to the gradients (not AdamW)")
    schedule: Constant | Steps | Exponential = Field(Constant(), discriminator="kind", description="of the rate")
    batch: Positive = Field(64, description="texts in a batch; the last one of an epoch may be smaller")
    epochs: Positive = Field(20, description="each of all texts, otherwise masked in each")
    clip: float | None = Field(1.0, gt=0, description="largest norm of all gradients together; null: any")


class System(SteppedSystem):
    """One experiment: a BART of random weights, and how it learns the captions of a corpus as texts.

    It reads the manifest alone. A captioner starts from its weights that names it under `uses` as `pretrained`.
    """

    captioner: Bart = Field(description="the network, of the sizes of the captioners that start from it")
    corruption: Corruption = Field(default_factory=Corruption)
    optimisation: Optimisation = Field(default_factory=Optimisation)
    train_split: str = Field("train", description="split to learn from; its texts make the vocabulary")
    validation_split: str = Field("validation", description="split whose restored tokens are counted")
    validate_every: Positive = Field(1, description="epochs from one such count to the next; also after the last")

    @property
    def predict_splits(self) -> list[str]:
        """The splits in the predictions."""
        return [self.validation_split]

    @model_validator(mode="after")
    def consistent(self) -> System:
        if self.captioner.pretrained:
            raise ValueError("captioner: leave out 'pretrained': this system makes such weights")
        return self
