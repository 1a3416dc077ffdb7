"""Values that change with the training step, counted from 0, and the settings of learning rates."""

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workflow_scripts.settings.base import LATER, Strict
from workflow_scripts.training.system import Count, Positive, Share


def ramped_decay(step: int, peak: float, ramp_steps: int, decay: float) -> float:
    """A learning rate that rises as exp(-5 (1 - step/ramp)^2) to `peak`, then shrinks by `decay` a step.

    Boes & Van hamme 2021, section 4.3.1; the shape of the rise is that of Laine & Aila, "Temporal ensembling", 2017.
    """
    if step < ramp_steps:
        return peak * math.exp(-5 * (1 - step / ramp_steps) ** 2)
    return float(peak * decay ** (step - ramp_steps))


def average_decay(step: int, limit: float) -> float:
    """The decay of an exponential moving average that begins as a plain mean: min(1 - 1/(step + 1), limit).

    Tarvainen & Valpola, "Mean teachers are better role models", 2017, in their released code.
    """
    return min(1 - 1 / (step + 1), limit)


def staircase(examples: int, peak: float, decay: float, width: int) -> float:
    """A rate that is multiplied by `decay` after every `width` examples, as in the starter code of YouTube-8M."""
    return float(peak * decay ** (examples // width))


def warmed_cosine(step: int, steps: int, warm_up: float, final: float = 0) -> float:
    """The share of the peak: a linear rise over the share `warm_up` of all steps, then half a cosine towards `final`.

    Loshchilov & Hutter, "SGDR", 2017, without restarts.
    """
    rise = round(warm_up * steps)
    if step < rise:
        return (step + 1) / rise
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def warm_up_share(step: int, rise: int) -> float:
    """The share of the peak in a linear rise of so many steps, and 1 after it."""
    return min(1, (step + 1) / max(rise, 1))


def passed(milestones: Sequence[int], step: int, steps: int, epochs: int) -> int:
    """How many milestones, in epochs, lie before a step of so many in so many epochs."""
    return sum(step * epochs >= milestone * steps for milestone in milestones)


class Schedule(Strict):
    """How the learning rate changes, as a share of its peak."""

    kind: Literal["cosine", "constant", "steps"] = Field("cosine", description="after the warm-up")
    warm_up: Share = Field(0.05, description="share of all steps in which the rate rises from 0")
    milestones: list[Positive] = Field([], description="`steps`: epochs after which it is multiplied by `factor`")
    factor: float = Field(0.1, gt=0, lt=1, description="of `milestones`")
    final: Annotated[Share, LATER] = Field(0, description="`cosine`: the share of the peak at which it ends")

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if (self.kind == "steps") != bool(self.milestones):
            raise ValueError(f"the schedule '{self.kind}' {'takes no' if self.milestones else 'needs'} milestones")
        return self

    def rate(self, peak: float, step: int, steps: int, epochs: int) -> float:
        """The rate at a step, from 0, of so many steps in so many epochs."""
        if self.kind == "cosine":
            return peak * warmed_cosine(step, steps, self.warm_up, self.final)
        rise = warm_up_share(step, round(self.warm_up * steps))
        return float(peak * (rise * self.factor ** passed(self.milestones, step, steps, epochs)))


class Constant(Strict):
    """One learning rate throughout."""

    kind: Literal["constant"] = "constant"

    def rate(self, peak: float, step: int, steps: int, epochs: int) -> float:
        """As `Schedule.rate`."""
        return peak


class Steps(Strict):
    """A linear rise, then falls after some epochs (Mei et al. 2021: a rise in 5 epochs, of 30, then 0.1 every 10)."""

    kind: Literal["steps"]
    warm_up: float = Field(5, ge=0, description="epochs in which the rate rises from 0")
    milestones: list[Positive] = Field([15, 25], description="epochs after which it is multiplied by `factor`")
    factor: float = Field(0.1, gt=0, lt=1, description="of `milestones`")

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if self.milestones and min(self.milestones) <= self.warm_up:
            raise ValueError(f"the milestone {min(self.milestones)} lies within the warm-up of {self.warm_up:g} epochs")
        return self

    def rate(self, peak: float, step: int, steps: int, epochs: int) -> float:
        """As `Schedule.rate`."""
        rise = warm_up_share(step, round(self.warm_up * steps / epochs))
        return float(peak * rise * self.factor ** passed(self.milestones, step, steps, epochs))


class Exponential(Strict):
    """A linear rise, then an exponential fall to the last step (Xu et al. 2022)."""

    kind: Literal["exponential"]
    warm_up: Count = Field(3000, description="steps in which the rate rises from 0; half of all steps at most")
    final: float = Field(5e-7, gt=0, description="rate at the end")

    def rate(self, peak: float, step: int, steps: int, epochs: int) -> float:
        """As `Schedule.rate`."""
        rise = min(self.warm_up, steps // 2)
        if step < rise:
            return peak * (step + 1) / rise
        return float(peak * (self.final / peak) ** ((step - rise) / max(steps - rise, 1)))
