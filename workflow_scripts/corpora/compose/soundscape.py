"""How composed sound-only corpora sound: at which pitch and level, over what noise, and what is said about it."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, field_validator

from workflow_scripts.corpora.compose.scene import Bank, Probability, Rng, Span, Waveform, ordered
from workflow_scripts.corpora.compose.soundtracks import SPLITS
from workflow_scripts.settings.base import Strict
from workflow_scripts.shards import atomic

NOTICE = """# Composed material

These clips are composed: they are not recordings of scenes, and not the clips of {of}. Only the form of the annotation
files is that data set's. Sounds are cut from recordings and synthesised, and played at random speeds and levels over
noise. Each clip is a section of a longer source, which has other sounds outside it. Everything follows from the seed
{seed}. The splits share neither a segment of a recording nor a parameter draw.

| split | clips |
|---|---|
{table}

`sources/` holds the sources, sound only. {about}
"""


class Soundscape(Strict):
    """What is done to a sound before it is heard."""

    pitch: Span = Field(default=(0.67, 1.5), description="Bounds of the speed, and so of the pitch, of a sound")
    snr_db: Span = Field(default=(-3, 15), description="Bounds of a sound's level over the background, in dB")
    background_dbfs: Span = Field(default=(-36, -26), description="Bounds of the background's level, in dB full scale")
    outside: Probability = Field(
        default=0.8, description="Probability of another sound before, and of one after a clip, in its source"
    )

    check_bounds = field_validator("pitch", "snr_db", "background_dbfs")(ordered)

    @field_validator("pitch")
    @classmethod
    def audible(cls, pitch: Span) -> Span:
        if pitch[0] <= 0:
            raise ValueError("a speed is above 0")
        return pitch


@dataclass(frozen=True)
class Pitched:
    """A sound bank whose sounds are played at random speeds, over noise of a random colour."""

    bank: Bank
    pitch: Span

    def draw(self, sound: str, split: str, rng: Rng, seconds: float | None = None) -> Waveform:
        """A sound that is about `seconds` long at the speed at which it is played."""
        from workflow_scripts.corpora.compose.recordings import resampled
        from workflow_scripts.corpora.compose.synthesis import log_uniform

        factor = log_uniform(rng, *self.pitch)
        asked = None if seconds is None else round(seconds * factor, 2)
        return resampled(self.bank.draw(sound, split, rng, asked), factor)

    def background(self, split: str, rng: Rng, seconds: float) -> Waveform:
        """The bank's background, and noise between white and brown that is as loud."""
        from workflow_scripts.corpora.compose.synthesis import noise, noise_frequencies, samples, tilt

        room, count = self.bank.background(split, rng, seconds), samples(seconds)
        coloured = noise(rng, count, tilt(noise_frequencies(count), rng.uniform(-6, 0), 200))
        return (room / (room.std() + 1e-9) + coloured).astype(np.float32)


def check_clips(clips: Mapping[str, int], fewest: int, of: str) -> None:
    """Raises `ValueError` unless both splits have a clip for each of `fewest` classes."""
    if set(clips) != set(SPLITS) or min(clips.values()) < fewest:
        raise ValueError(f"clips: give each of {', '.join(SPLITS)} at least {fewest}, the number of {of}")


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Writes rows with commas between the cells, quoted where they must be."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_notice(folder: Path, of: str, seed: int, clips: Mapping[str, int], about: str) -> None:
    """Writes COMPOSED.md: that the material is composed, from what, and `about`, a sentence on the labels."""
    table = "\n".join(f"| {split} | {clips[split]} |" for split in SPLITS)
    notice = NOTICE.format(of=of, seed=seed, table=table, about=about)
    with atomic(folder / "COMPOSED.md") as temporary:
        temporary.write_text(notice, encoding="utf-8")
