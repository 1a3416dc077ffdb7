"""Corpora of clips with one label each: one kind of sound a clip, at a random time, pitch and level."""

from collections.abc import Iterable
from typing import Annotated, NamedTuple, Self

from pydantic import Field, model_validator

from composed.scenes.scene import Material, Mixture, Scene, SoundClass, sample_scene
from composed.scenes.soundscape import Pitched, Soundscape, SoundscapeComposer
from composed.scenes.sources import Source
from composed.types import Bank, Rng, Span
from workflow_scripts.settings.base import Strict

RECORDINGS = (
    "cow",
    "dog",
    "duck",
    "frog",
    "owl",
    "pig",
    "rainforest",
    "rooster",
    "train",
    "water",
)  # enough for three splits


class Sound(Strict):
    """How a label sounds."""

    sound: str = Field(description="Name in the sound bank")
    seconds: Span = Field(default=(0.8, 2.5), description="Bounds of the length asked of the sound bank")


Sounds = Annotated[dict[str, Sound], Field(min_length=2, description="The labels: how they sound")]


class LabelledClip(NamedTuple):
    """One clip of the corpus: where it is in which video, whole seconds, and what is heard.

    `part` is that of the data set: `train`, validation clips included, or `test`.
    """

    part: str
    video_id: str
    label: str
    start: int
    end: int


class LabelledSounds(SoundscapeComposer):
    """A composer of such a corpus but for its labels and the form of its annotation files."""

    clips: dict[str, int] = Field(
        default={"train": 240, "validation": 120, "test": 400}, description="Number of clips by split"
    )
    clip_seconds: int = Field(default=4, ge=2, description="Length of a clip")
    source_seconds: tuple[int, int] = Field(
        default=(6, 9), description="Bounds of the length of the source around a clip, whole seconds"
    )
    sounds: Sounds
    soundscape: Soundscape = Field(default=Soundscape(), description="At which pitch and level sounds are heard")

    @property
    def assets(self) -> tuple[str, ...]:
        return tuple(f"{name}_recording" for name in RECORDINGS)

    @model_validator(mode="after")
    def consistent(self) -> Self:
        self.check_clips(len(self.sounds), "labels")
        if not self.clip_seconds + 2 <= self.source_seconds[0] <= self.source_seconds[1]:
            raise ValueError("source_seconds: sources must be at least 2 s longer than clip_seconds")
        return self

    def place(self, source: Source) -> tuple[int, int]:
        """The length of a source and the start of its clip, which has a second of other sounds on each side."""
        rng = self.generator(source, 0)
        seconds = int(rng.integers(self.source_seconds[0], self.source_seconds[1] + 1))
        return seconds, int(rng.integers(1, seconds - self.clip_seconds))

    def label(self, source: Source) -> str:
        """The labels take turns, so that every split has as many clips of each."""
        return list(self.sounds)[source.index % len(self.sounds)]

    def sounding(self) -> Iterable[str]:
        return {about.sound for about in self.sounds.values()}

    def scene(self, bank: Bank, sample_rate: int, source: Source, rng: Rng) -> Scene:
        """One source: its clip has one whole event of its label, and other labels may be heard before and after."""
        seconds, start = self.place(source)
        heard = self.soundscape
        mixture = Mixture(
            snr_db=heard.snr_db, background_dbfs=heard.background_dbfs, visible_share=1, outside=heard.outside
        )
        classes = {
            label: SoundClass(sound=about.sound, pictures="", seconds=about.seconds)
            for label, about in self.sounds.items()
        }
        material = Material(mixture, classes, Pitched(bank, heard.pitch), sample_rate, source.split)
        section = (float(start), float(start + self.clip_seconds))
        return sample_scene(material, rng, float(seconds), section, [self.label(source)])

    def labelled(self, source: Source) -> LabelledClip:
        start = self.place(source)[1]
        part = "test" if source.split == "test" else "train"
        return LabelledClip(part, source.id, self.label(source), start, start + self.clip_seconds)

    def labels(self) -> str:
        return "Labels: " + "; ".join(self.sounds) + "."
