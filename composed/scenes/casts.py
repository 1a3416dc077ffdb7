"""Casts: which kinds of events a clip has, in which order, and what goes on behind them."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from composed.composer import Composer
from composed.text.caption_templates import KINDS
from composed.types import Probability, Rng
from workflow_scripts.errors import did_you_mean

GAP = 0.25  # seconds between events that follow each other
LONG_ENOUGH = 2.0  # seconds to hear an envelope


class Cast(NamedTuple):
    """The kinds in a clip: groups in their order, each of one or of two at the same time, and the background's."""

    groups: Sequence[Sequence[str]]
    background: str | None


class Casting(Composer):
    """A composer that draws casts."""

    kinds: tuple[str, ...] = Field(default=tuple(KINDS), description="Kinds of events: names in `caption_templates.py`")
    events: dict[int, float] = Field(
        default={1: 0.12, 2: 0.4, 3: 0.32, 4: 0.16}, description="Weight of each number of events in a clip"
    )
    together: Probability = Field(default=0.25, description="Probability that an event comes together with the next")
    background: Probability = Field(
        default=0.3, description="Probability that one of several events goes on through the clip"
    )

    @field_validator("kinds")
    @classmethod
    def known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for name in kinds:
            if name not in KINDS:
                raise ValueError(f"'{name}' is no kind of event{did_you_mean(name, KINDS)}")
        return kinds

    @model_validator(mode="after")
    def enough(self) -> Self:
        weights = self.events.values()
        if not set(self.events) <= {1, 2, 3, 4} or min(weights, default=0) < 0 or not sum(weights):
            raise ValueError("events: name numbers from 1 to 4 with weights of which one is above 0")
        sounds = {KINDS[name].sound for name in self.kinds if KINDS[name].envelope is None}
        if len(sounds) < max(self.events):
            raise ValueError(
                f"kinds: {len(sounds)} sounds without an envelope are too few for {max(self.events)} events"
            )
        return self

    def cast(self, rng: Rng, seconds: float) -> Cast:
        """The kinds in a clip of so many seconds, no sound twice."""
        numbers, weights = list(self.events), np.array(list(self.events.values()))
        left = int(rng.choice(numbers, p=weights / weights.sum()))
        lasting = [name for name in self.kinds if KINDS[name].lasting]
        background = None
        if left > 1 and lasting and rng.random() < self.background:
            background, left = lasting[rng.integers(len(lasting))], left - 1
        sizes = []
        while left:
            sizes.append(2 if left > 1 and rng.random() < self.together else 1)
            left -= sizes[-1]
        fitting = [n for n in self.kinds if KINDS[n].envelope is None or seconds / len(sizes) >= LONG_ENOUGH + GAP]
        by_sound: dict[str, list[str]] = {}
        for name in fitting:
            by_sound.setdefault(KINDS[name].sound, []).append(name)
        others = [sound for sound in by_sound if background is None or sound != KINDS[background].sound]
        drawn = iter(rng.permutation(others)[: sum(sizes)].tolist())
        named = [[by_sound[next(drawn)] for _ in range(size)] for size in sizes]
        return Cast([[names[rng.integers(len(names))] for names in group] for group in named], background)
