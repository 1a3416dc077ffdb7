"""A small composed corpus in the form of Kinetics: clips of named sounds, with real times in whole seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from composed.files import write_csv
from composed.scenes.labelled_sounds import LabelledSounds, Sound, Sounds
from composed.scenes.sources import Source
from composed.types import Seed

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

    of: ClassVar[str] = "Kinetics"

    seed: Seed = 400
    sounds: Sounds = SOUNDS

    def annotate(self, sources: Sequence[Source], folder: Path) -> None:
        clips = [self.labelled(source) for source in sources]
        for part, file, named in (("train", "train.csv", "train"), ("test", "val.csv", "val")):
            rows = [(clip.label, clip.video_id, clip.start, clip.end, named) for clip in clips if clip.part == part]
            write_csv(folder / file, [COLUMNS, *rows])
