"""A small composed corpus in the form of VGGSound: clips of named sounds, by the start of their section."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from composed.files import write_csv
from composed.scenes.labelled_sounds import LabelledSounds, Sound, Sounds
from composed.scenes.sources import Source
from composed.types import Seed

SOUNDS = {
    "alarm ringing": Sound(sound="Alarm_bell_ringing"),
    "cat meowing": Sound(sound="Cat"),
    "church bell ringing": Sound(sound="bell", seconds=(1.5, 3)),
    "cow lowing": Sound(sound="cow"),
    "dishes clattering, cutlery": Sound(sound="Dishes"),
    "dog barking": Sound(sound="Dog"),
    "duck quacking": Sound(sound="duck"),
    "electric shaver, electric toothbrush": Sound(sound="Electric_shaver_toothbrush", seconds=(1.5, 3)),
    "frog croaking": Sound(sound="frog"),
    "owl hooting": Sound(sound="owl"),
    "pig oinking": Sound(sound="pig"),
    "rainforest, insects chirping": Sound(sound="rainforest", seconds=(1.5, 3)),
    "raining": Sound(sound="rain", seconds=(1.5, 3)),
    "train passing by": Sound(sound="train", seconds=(1.5, 3)),
}


class Composer(LabelledSounds):
    """Composes sources and writes vggsound.csv and stat.csv, which have no header."""

    of: ClassVar[str] = "VGGSound"

    seed: Seed = 309
    sounds: Sounds = SOUNDS

    def annotate(self, sources: Sequence[Source], folder: Path) -> None:
        clips = [self.labelled(source) for source in sources]
        write_csv(folder / "vggsound.csv", [(clip.video_id, clip.start, clip.label, clip.part) for clip in clips])
        counts = Counter(clip.label for clip in clips)
        write_csv(folder / "stat.csv", [(label, counts[label], "composed") for label in sorted(counts)])
