"""A small composed corpus in the form of AudioCaps: captioned sections of longer sources."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from composed.files import write_csv
from composed.scenes.captioned_scenes import CaptionedClip, CaptionedScenes, TemporalShare
from composed.scenes.sources import Source
from composed.types import Seed, Span
from workflow_scripts.corpora.readers.audiocaps import COLUMNS, PARTS, clip_id


class Composer(CaptionedScenes):
    """Composes sources and writes train.csv, val.csv and test.csv, in the latter two five rows a clip."""

    of: ClassVar[str] = "AudioCaps"
    references: ClassVar[dict[str, int]] = {"train": 1, "validation": 5, "test": 5}
    stop: ClassVar[str] = ""

    seed: Seed = 2019
    temporal: TemporalShare = 0.6
    clip_seconds: int = Field(default=6, ge=4, description="Length of a clip")
    source_seconds: tuple[int, int] = Field(
        default=(8, 9), description="Bounds of the length of the source around a clip, whole seconds"
    )

    @model_validator(mode="after")
    def around_clips(self) -> Self:
        if not self.clip_seconds + 2 <= self.source_seconds[0] <= self.source_seconds[1]:
            raise ValueError("source_seconds: sources must be at least 2 s longer than clip_seconds")
        return self

    def place(self, source: Source) -> tuple[float, Span]:
        """A clip starts at a whole second, and has at least one second of its source on each side."""
        rng = self.generator(source, 0)
        seconds = int(rng.integers(self.source_seconds[0], self.source_seconds[1] + 1))
        start = int(rng.integers(1, seconds - self.clip_seconds))
        return float(seconds), (float(start), float(start + self.clip_seconds))

    def annotate(self, clips: Sequence[CaptionedClip], folder: Path) -> None:
        number = 0
        for part, split in PARTS.items():
            chosen = [clip for clip in clips if clip.source.split == split]
            rows = []
            for turn in range(self.references[split]):  # the captions of a clip are not next to each other
                for clip in chosen:
                    number += 1
                    rows.append((number, clip.source.id, int(clip.section[0]), clip.captions[turn].text))
            write_csv(folder / f"{part}.csv", [COLUMNS, *rows])

    def clip_id(self, clip: CaptionedClip) -> str:
        return clip_id(clip.source.id, int(clip.section[0]))
