"""Writes tones that rise, fall or stay, a folder for each: `python write_sounds.py FOLDER`."""

import sys
from pathlib import Path

import numpy as np
import soundfile

RATE, SECONDS, SOUNDS = 16_000, 2.0, 30  # of each class
SLOPES = {"rising": 0.5, "steady": 0.0, "falling": -0.5}  # octaves a second


def tone(slope: float, rng: np.random.Generator) -> np.ndarray:
    """A tone in noise whose pitch in the middle and loudness are drawn, so that they tell nothing: (samples,)."""
    times = np.arange(round(RATE * SECONDS)) / RATE
    pitch = rng.uniform(300, 2400) * 2 ** (slope * (times - SECONDS / 2))
    sound = np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * rng.uniform(0.1, 0.5)
    return sound + 0.05 * rng.standard_normal(len(times))


def main(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for label, slope in SLOPES.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(SOUNDS):
            soundfile.write(folder / label / f"{label}{number:02}.flac", tone(slope, rng), RATE)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
