"""A small composed corpus in the form of Clotho: whole captioned files in a folder a split, with names of all sorts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from composed.files import write_csv
from composed.scenes.captioned_scenes import CaptionedClip, CaptionedScenes, TemporalShare
from composed.scenes.sources import Source
from composed.types import Seed, Span
from workflow_scripts.corpora.readers.audio_folder import clip_id
from workflow_scripts.corpora.readers.clotho import CAPTIONS, PARTS

NAMES = ("Field Recording {id}", " walk (take 2), {id}", "{id}#1_edit", "Küche & 50% Garten {id}", "it's late... {id}")
FOLDERS = {split: part for part, split in PARTS.items()}


class Composer(CaptionedScenes):
    """Composes files and writes the captions of the three splits."""

    of: ClassVar[str] = "Clotho"
    references: ClassVar[dict[str, int]] = {"train": 5, "validation": 5, "test": 5}
    stop: ClassVar[str] = "."

    seed: Seed = 2020
    temporal: TemporalShare = 0.35
    seconds: Span = Field(default=(5, 8), description="Bounds of the length of a file")

    @field_validator("seconds")
    @classmethod
    def room_for_events(cls, seconds: Span) -> Span:
        if seconds[0] < 4:
            raise ValueError("a file is at least 4 s")
        return seconds

    def place(self, source: Source) -> tuple[float, Span]:
        """A clip is its whole file."""
        seconds = round(float(self.generator(source, 0).uniform(*self.seconds)), 2)
        return seconds, (0.0, seconds)

    def named(self, source: Source) -> Source:
        """The source as its path among the sources, without its suffix."""
        name = NAMES[source.index % len(NAMES)].format(id=source.id)
        return replace(source, id=f"{FOLDERS[source.split]}/{name}")

    def annotate(self, clips: Sequence[CaptionedClip], folder: Path) -> None:
        for part in PARTS:
            mine = [clip for clip in clips if clip.source.id.startswith(f"{part}/")]
            said = [(path(clip).partition("/")[2], *(caption.text for caption in clip.captions)) for clip in mine]
            write_csv(folder / f"clotho_captions_{part}.csv", [("file_name", *CAPTIONS), *said])

    def clip_id(self, clip: CaptionedClip) -> str:
        return clip_id(path(clip))


def path(clip: CaptionedClip) -> str:
    """A clip's file, from the folder of sources."""
    return f"{clip.source.id}.flac"
