"""A small composed corpus in the form of AudioCaps: captioned sections of longer sources."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from workflow_scripts.corpora.compose.captioned_scenes import CaptionedScenes, Clip
from workflow_scripts.corpora.compose.scene import Span
from workflow_scripts.corpora.compose.soundscape import write_csv
from workflow_scripts.corpora.compose.sources import Source
from workflow_scripts.corpora.readers.audiocaps import COLUMNS, PARTS, clip_id


class Composer(CaptionedScenes):
    """Composes sources and writes train.csv, val.csv and test.csv, in the latter two five rows a clip."""

    revision: ClassVar[int] = 1
    references: ClassVar[dict[str, int]] = {"train": 1, "validation": 5, "test": 5}
    stop: ClassVar[str] = ""

    seed: int = Field(default=2019, ge=0, description="From which everything follows")
    temporal: float = Field(default=0.6, ge=0, le=1, description=CaptionedScenes.model_fields["temporal"].description)
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

    def compose(self, assets: dict[str, Path], folder: Path, workers: int) -> None:
        """Writes sources, annotation files, the truth and a notice below `folder`.

        Raises `UserError` when an asset is missing or unfit.
        """
        clips = self.composed(assets, folder, workers)
        number = 0
        for part, split in PARTS.items():
            chosen = [clip for clip in clips if clip.source.split == split]
            rows = []
            for turn in range(self.references[split]):  # the captions of a clip are not beside each other
                for made in chosen:
                    number += 1
                    rows.append((number, made.source.id, start(made), made.captions[turn].text))
            write_csv(folder / f"{part}.csv", [COLUMNS, *rows])
        self.write_truth(folder, {clip_id(made.source.id, start(made)): made for made in clips}, "AudioCaps")


def start(made: Clip) -> int:
    return int(made.section[0])
