"""How composed sound-only corpora sound: at which pitch and level, and over what noise."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator

from composed.files import write_text
from composed.scenes.soundtracks import SoundtrackMaker, write_sources
from composed.scenes.sources import Source, SourceComposer
from composed.sounds.recordings import resampled
from composed.sounds.waveforms import samples
from composed.types import Assets, Bank, Probability, Rng, Span, Waveform
from workflow_scripts.settings.base import Strict

NOTICE = """# Composed material

These clips are composed: they are not recordings of scenes, and not the clips of {of}. Only the form of the annotation
files is that data set's. Sounds are cut from recordings and synthesised, and played at random speeds and levels over
noise. Each clip is a section of a longer source, which has other sounds outside it. Everything follows from the seed
{seed}. The splits share neither a segment of a recording nor a parameter draw. The validation clips stand in the
annotations of the train part, and `held_out.txt` names their videos.

| split | clips |
|---|---|
{table}

`sources/` holds the sources, sound only. {labels}
"""


class Soundscape(Strict):
    """What is done to a sound before it is heard."""

    pitch: Span = Field(default=(0.67, 1.5), description="Bounds of the speed, and so of the pitch, of a sound")
    snr_db: Span = Field(default=(-3, 15), description="Bounds of a sound's level over the background, in dB")
    background_dbfs: Span = Field(default=(-36, -26), description="Bounds of the background's level, in dB full scale")
    outside: Probability = Field(
        default=0.8, description="Probability of another sound before, and of one after a clip, in its source"
    )

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
        from composed.sounds.synthesis import log_uniform

        factor = log_uniform(rng, *self.pitch)
        asked = None if seconds is None else round(seconds * factor, 2)
        return resampled(self.bank.draw(sound, split, rng, asked), factor)

    def background(self, split: str, rng: Rng, seconds: float) -> Waveform:
        """The bank's background, and noise between white and brown that is as loud."""
        from composed.sounds.synthesis import noise, noise_frequencies, tilt

        room, count = self.bank.background(split, rng, seconds), samples(seconds)
        coloured = noise(rng, count, tilt(noise_frequencies(count), rng.uniform(-6, 0), 200))
        return (room / (room.std() + 1e-9) + coloured).astype(np.float32)


class SoundscapeComposer(SourceComposer):
    """A composer whose sources are sound only, in two parts as the data sets have: to train, and to test.

    Those of the split `validation` are of the train part, and held out of it.
    """

    notice: ClassVar[str] = NOTICE
    holds_out: ClassVar[bool] = True
    of: ClassVar[str]  # the data set that has this form
    splits: ClassVar[tuple[str, ...]] = ("train", "validation", "test")

    def check_clips(self, fewest: int, classes: str) -> None:
        """Raises `ValueError` unless all splits have a clip for each of `fewest` classes."""
        if set(self.clips) != set(self.splits) or min(self.clips.values()) < fewest:
            raise ValueError(f"clips: give each of {', '.join(self.splits)} at least {fewest}, the number of {classes}")

    def wanted(self, assets: Assets) -> list[Source]:
        """The sources of all splits, one for each clip."""
        return self.sources(assets, self.clips)

    @abstractmethod
    def annotate(self, sources: Sequence[Source], folder: Path) -> None:
        """Writes the annotation files."""

    @abstractmethod
    def labels(self) -> str:
        """Sentences on the labels."""

    def write(self, assets: Assets, folder: Path, workers: int) -> None:
        sources = self.wanted(assets)
        write_sources(SoundtrackMaker, self, sources, assets, folder, workers)
        self.annotate(sources, folder)
        videos = dict.fromkeys(source.id for source in sources if source.split == "validation")
        write_text(folder / "held_out.txt", "".join(f"{video}\n" for video in videos))
        self.write_notice(
            folder, [(split, self.clips[split]) for split in self.splits], of=self.of, labels=self.labels()
        )
