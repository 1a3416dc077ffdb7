"""Types that the rooms share, among them those of settings."""

from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

Number = TypeVar("Number", int, float)


def ordered(bounds: tuple[Number, Number]) -> tuple[Number, Number]:
    if bounds[0] > bounds[1]:
        raise ValueError("the first bound is greater than the second")
    return bounds


Assets = dict[str, Path]  # files by the names of their assets
Rng = np.random.Generator
Waveform = NDArray[np.float32]  # (samples,) in -1…1
Span = Annotated[tuple[float, float], AfterValidator(ordered)]
WholeSpan = Annotated[tuple[int, int], AfterValidator(ordered)]
Probability = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, description="From which everything follows")]


class Bank(Protocol):
    """Where sounds come from; see `sounds.bank.SoundBank`."""

    def draw(self, sound: str, split: str, rng: Rng, seconds: float | None = None) -> Waveform: ...

    def background(self, split: str, rng: Rng, seconds: float) -> Waveform: ...
