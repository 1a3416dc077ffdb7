"""A small composed corpus in the form of Kinetics: clips of named sounds, with real times in whole seconds."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from workflow_scripts.corpora.compose.labelled_sounds import LabelledSounds, Sound
from workflow_scripts.corpora.compose.soundscape import write_csv, write_notice

SOUNDS = {
    "barking dog": Sound(sound="Dog"),
    "blending": Sound(sound="Blender", seconds=(1.5, 3)),
    "church bell": Sound(sound="bell", seconds=(1.5, 3)),
    "crowing rooster": Sound(sound="rooster"),
    "frying": Sound(sound="Frying", seconds=(1.5, 3)),
    "gong": Sound(sound="gong", seconds=(1.5, 3)),
    "hooting owl": Sound(sound="owl"),
    "meowing cat": Sound(sound="Cat"),
    "mooing cow": Sound(sound="cow"),
    "ringing alarm": Sound(sound="Alarm_bell_ringing"),
    "running tap": Sound(sound="Running_water", seconds=(1.5, 3)),
    "vacuuming": Sound(sound="Vacuum_cleaner", seconds=(1.5, 3)),
}
COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")


class Composer(LabelledSounds):
    """Composes sources and writes train.csv and val.csv as Kinetics does."""

    revision: ClassVar[int] = 1

    seed: int = Field(default=400, ge=0, description="From which everything follows")
    sounds: dict[str, Sound] = Field(default=SOUNDS, min_length=2, description="The labels: how they sound")

    def compose(self, assets: dict[str, Path], folder: Path, workers: int) -> None:
        """Writes sources, annotation files and a notice below `folder`.

        Raises `UserError` when an asset is missing or unfit.
        """
        clips = list(self.composed(assets, folder, workers))
        for split, file, named in (("train", "train.csv", "train"), ("test", "val.csv", "val")):
            rows = [(clip.label, clip.video_id, clip.start, clip.end, named) for clip in clips if clip.split == split]
            write_csv(folder / file, [COLUMNS, *rows])
        about = "Labels: " + "; ".join(self.sounds) + "."
        write_notice(folder, "Kinetics", self.seed, self.clips, about)
