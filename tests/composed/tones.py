"""Quick sounds for composers under test, in the place of the real sound bank."""

import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

RATE = 32_000
DRAWN: list[tuple[str, float]] = []  # split and pitch of every sound that was drawn


class Tones:
    """A quick sound bank: sounds are tones of random pitch, and every draw is written down in `DRAWN`."""

    def __init__(self, assets: dict[str, Path], splits: list[str], seed: int) -> None:
        self.assets = assets

    def load(self, sounds: Iterable[str]) -> None:
        """Tones need nothing."""

    def draw(self, sound: str, split: str, rng: np.random.Generator, seconds: float | None = None) -> np.ndarray:
        pitch = rng.uniform(200, 2000)
        DRAWN.append((split, pitch))
        return np.sin(2 * np.pi * pitch * np.arange(int((seconds or 1.0) * RATE)) / RATE).astype(np.float32)

    def background(self, split: str, rng: np.random.Generator, seconds: float) -> np.ndarray:
        return rng.normal(0, 0.1, round(seconds * RATE)).astype(np.float32)


def use_tones(patch: pytest.MonkeyPatch) -> None:
    """Lets composers in this process use `Tones`, and forgets what was drawn."""
    module = ModuleType("sounds")
    vars(module).update(SAMPLE_RATE=RATE, SoundBank=Tones)
    patch.setitem(sys.modules, "composed.sounds.bank", module)
    DRAWN.clear()
