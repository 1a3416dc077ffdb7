"""A small composed corpus in the form of Clotho: whole captioned files in a folder a split, with names of all sorts."""

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from workflow_scripts.corpora.compose.captioned_scenes import CaptionedScenes
from workflow_scripts.corpora.compose.scene import Span, ordered
from workflow_scripts.corpora.compose.soundscape import write_csv
from workflow_scripts.corpora.compose.sources import Source
from workflow_scripts.corpora.readers.audio_folder import clip_id
from workflow_scripts.corpora.readers.clotho import CAPTIONS, PARTS

NAMES = ("Field Recording {id}", " walk (take 2), {id}", "{id}#1_edit", "Küche & 50% Garten {id}", "it's late... {id}")
FOLDERS = {split: part for part, split in PARTS.items()}


class Composer(CaptionedScenes):
    """Composes files and writes the captions of the three splits."""

    revision: ClassVar[int] = 1
    references: ClassVar[dict[str, int]] = {"train": 5, "validation": 5, "test": 5}
    stop: ClassVar[str] = "."

    seed: int = Field(default=2020, ge=0, description="From which everything follows")
    temporal: float = Field(default=0.35, ge=0, le=1, description=CaptionedScenes.model_fields["temporal"].description)
    seconds: Span = Field(default=(5, 8), description="Bounds of the length of a file")

    check_seconds = field_validator("seconds")(ordered)

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

    def compose(self, assets: dict[str, Path], folder: Path, workers: int) -> None:
        """Writes files, their captions, the truth and a notice below `folder`.

        Raises `UserError` when an asset is missing or unfit.
        """
        clips = {f"{made.source.id}.flac": made for made in self.composed(assets, folder, workers)}
        for part in PARTS:
            chosen = {path.partition("/")[2]: made for path, made in clips.items() if path.startswith(f"{part}/")}
            said = [(name, *(caption.text for caption in made.captions)) for name, made in chosen.items()]
            write_csv(folder / f"clotho_captions_{part}.csv", [("file_name", *CAPTIONS), *said])

        self.write_truth(folder, {clip_id(path): made for path, made in clips.items()}, "Clotho")
