"""A small composed corpus in the form of VGGSound: clips of named sounds, by the start of their section."""

from collections import Counter
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from workflow_scripts.corpora.compose.labelled_sounds import LabelledSounds, Sound
from workflow_scripts.corpora.compose.soundscape import write_csv, write_notice

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
    "horse neighing": Sound(sound="horse"),
    "pig oinking": Sound(sound="pig"),
    "rainforest, insects chirping": Sound(sound="rainforest", seconds=(1.5, 3)),
    "raining": Sound(sound="rain", seconds=(1.5, 3)),
    "train passing by": Sound(sound="train", seconds=(1.5, 3)),
}


class Composer(LabelledSounds):
    """Composes sources and writes vggsound.csv and stat.csv, which have no header."""

    revision: ClassVar[int] = 1

    seed: int = Field(default=309, ge=0, description="From which everything follows")
    sounds: dict[str, Sound] = Field(default=SOUNDS, min_length=2, description="The labels: how they sound")

    def compose(self, assets: dict[str, Path], folder: Path, workers: int) -> None:
        """Writes sources, annotation files and a notice below `folder`.

        Raises `UserError` when an asset is missing or unfit.
        """
        clips = list(self.composed(assets, folder, workers))
        write_csv(folder / "vggsound.csv", [(clip.video_id, clip.start, clip.label, clip.split) for clip in clips])
        counts = Counter(clip.label for clip in clips)
        write_csv(folder / "stat.csv", [(label, counts[label], "composed") for label in sorted(counts)])
        about = "Labels: " + "; ".join(self.sounds) + "."
        write_notice(folder, "VGGSound", self.seed, self.clips, about)
