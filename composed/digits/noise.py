"""Single-modality noise: pixels and samples set to zero, and recordings embedded in silence as for AudioNet.

AudioNet: S. Becker et al., "AudioMNIST: Exploring Explainable Artificial Intelligence for Audio Analysis on a Simple
Benchmark", Journal of the Franklin Institute 361(1), 2024.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from composed.types import Waveform
from workflow_scripts.settings.base import Strict

Rate = Annotated[float, Field(ge=0, le=1)]


class Noise(Strict):
    """How much of each view of a pair is lost: at least one of them stays clear."""

    levels: list[tuple[Rate, Rate]] = Field(
        default=[(0.75, 0.1), (0.1, 0.75), (0.35, 0.35)],
        min_length=1,
        description="Shares of the pixels and of the samples that are set to 0; every pair draws one of these couples",
    )
    jitter: float = Field(default=0.05, ge=0, le=1, description="Each share is moved by up to this, either way")
    hiss: float = Field(
        default=0.0, ge=0, description="Deviation of white noise below every recording; 95 % of a word lie below 1"
    )

    spread: float = Field(
        default=1.0, ge=0, le=1, description="Where a recording lies in the silence: 0 in its middle, 1 anywhere"
    )

    def draw(self, rng: np.random.Generator) -> tuple[float, float]:
        """The shares of the pixels and of the samples that one pair loses."""
        level = self.levels[rng.integers(len(self.levels))]
        image, audio = np.clip(np.array(level) + rng.uniform(-self.jitter, self.jitter, 2), 0, 1)
        return float(image), float(audio)


def dropped(values: NDArray[np.floating], share: float, rng: np.random.Generator) -> NDArray[np.floating]:
    """`values` with about a `share` of them set to 0."""
    return np.where(rng.random(values.shape) < share, 0, values)


def scaled(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels from 0…255 to [-1, 1], so that the 0 of a lost one is a grey that no other pixel has."""
    return (pixels / 127.5 - 1).astype(np.float32)


def embedded(waveform: Waveform, length: int, spread: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A recording at a random place in silence, divided by the 95th percentile of its magnitudes + 0.001.

    `spread` is the share of the possible places, around the middle one, that are drawn from. Of a recording that is
    longer than `length` samples the beginning is kept.
    """
    kept = waveform[:length]
    whole = np.zeros(length)
    start = round((length - len(kept)) * (0.5 + spread * (rng.random() - 0.5)))
    whole[start : start + len(kept)] = kept
    return whole / (np.percentile(np.abs(whole), 95) + 0.001)
