"""Settings of the classification of sounds by one of several networks, each clip having one class a head."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from workflow_scripts.settings.base import LATER, MANNER, Strict
from workflow_scripts.training.schedules import Schedule
from workflow_scripts.training.system import Count, Positive, Share, SteppedSystem
from workflow_scripts.training.systems.audio_classifier.networks import Network, Pretrained

Part = Annotated[float, Field(ge=0, le=1)]


class Optimisation(Strict):
    """The training. DATAR, section 4, gives the learning rate and AdamW; the other defaults are ours."""

    optimiser: Literal["adamw", "adam", "sgd"] = Field("adamw", description="the learning rule")
    learning_rate: float = Field(1e-5, gt=0, description="at its peak")
    weight_decay: float = Field(0.05, ge=0, description="not of biases, norms, position tables and class tokens")
    betas: tuple[Share, Share] = Field((0.9, 0.999), description="of Adam and AdamW")
    momentum: Share = Field(0.9, description="of SGD")
    nesterov: bool = Field(False, description="of SGD")
    schedule: Schedule = Field(default_factory=Schedule)
    batch: Positive = Field(32, description="clips in a batch; the last one of an epoch may be smaller")
    epochs: Positive = Field(description="passes over the training clips")
    label_smoothing: Share = Field(0, description="share of the target that is spread over all classes")
    clip: float | None = Field(None, gt=0, description="largest norm of all gradients together; null: any")
    shuffle_rows: Positive = Field(1024, description="clips in memory from which batches are drawn")


class Augmentation(Strict):
    """What training clips go through; defaults are the AST code's for short recordings (Gong et al. 2021)."""

    mixup: Part = Field(0, description="share of the clips that another of the batch is added to")
    mixup_alpha: float = Field(10, gt=0, description="both parameters of the Beta distribution of the first's share")
    cutmix: Annotated[Part, LATER] = Field(
        0, description="share of the clips, none of them mixed up, that get a rectangle of another one of the batch"
    )
    cutmix_alpha: Annotated[float, LATER] = Field(
        1, gt=0, description="both parameters of the Beta distribution of the share that the first keeps"
    )
    mix_by: Annotated[Literal["clip", "batch"], LATER] = Field(
        "clip",
        description="`clip`: each clip is mixed by numbers of its own; `batch`: all clips of a batch by the same",
    )
    erasing: Annotated[Part, LATER] = Field(
        0, description="share of the clips of which a rectangle, 2 % to a third of all, becomes noise; DAT code: 0.25"
    )
    freq_mask: Count = Field(24, description="largest number of bins that are masked; 0: none")
    time_mask: Count = Field(96, description="largest number of frames that are masked; 0: none")
    mask_value: Literal["zero", "mean"] = Field(
        "zero", description="`zero`: masked features are 0 before the normalisation, in the AST code; `mean`: after it"
    )
    time_shift: Count = Field(
        0, description="largest number of frames by which a clip is rolled round, either way; AST code: 10, with noise"
    )
    noise: float = Field(0, ge=0, description="largest amplitude of noise added after the normalisation; AST code: 0.1")

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if self.mixup + self.cutmix > 1:
            raise ValueError(f"mixup {self.mixup:g} and cutmix {self.cutmix:g} are shares of the same clips: 1 at most")
        return self


class System(SteppedSystem):
    """One experiment: its network and optimisation, and what to predict.

    It reads one feature, the reductions named `classes` and `statistics` (or ending in `_classes`, `_statistics`), and
    starts from the experiment that it uses as `initial`, if any.
    """

    parallel: ClassVar[bool] = True

    model: Network = Field(discriminator="kind")
    normalisation: Literal["ast", "standard", "clip", "none"] = Field(
        "ast",
        description="(x - mean) / (2 std), or / std, with those of all training clips; `clip`: with each clip's own",
    )
    augmentation: Augmentation = Field(default_factory=Augmentation)
    optimisation: Optimisation
    train_split: str = Field("train", description="split to learn from")
    validation_split: str | None = Field(None, description="split whose accuracy is recorded while learning")
    validate_every: Positive = Field(1, description="epochs from one such accuracy to the next; also after the last")
    report_epoch: Literal["last", "best"] = Field(
        "last", description="weights that predict: the last, or those of the best recorded accuracy"
    )
    predict_splits: list[str] = Field(["test"], min_length=1, description="splits in the predictions")
    cross_validation: Annotated[bool, LATER] = Field(
        False,
        description="one network for each fold of the corpus, which learns from the clips of the others and predicts "
        "its own; the corpus tells the folds, as `audio_folder` does with `reading.folds`",
    )
    cache_megabytes: Annotated[Count, MANNER] = Field(512, description="features that stay in memory between epochs")

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if self.cross_validation and (self.validation_split, self.predict_splits) != (None, ["test"]):
            raise ValueError("cross_validation predicts each clip once, as 'test': leave out the other splits")
        if self.report_epoch == "best":
            if self.validation_split is None:
                raise ValueError(
                    "report_epoch 'best' needs a validation_split to choose the epoch by; name one or report the last"
                )
            if self.validation_split in (self.train_split, *self.predict_splits):
                raise ValueError(
                    f"report_epoch 'best' would choose the epoch by the clips of '{self.validation_split}', which are "
                    "learned from or reported: choose by a split of its own, or report the last"
                )
        return self

    @property
    def checkpoint(self) -> str | None:
        """The asset with the network's first weights, if there is one."""
        return self.model.checkpoint if isinstance(self.model, Pretrained) else None

    @property
    def assets(self) -> tuple[str, ...]:
        return (self.checkpoint,) if self.checkpoint else ()
