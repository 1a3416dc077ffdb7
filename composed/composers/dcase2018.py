"""A small composed corpus in the form of DCASE 2018 task 4: domestic sounds, weakly, not and strongly annotated."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from composed.files import write_csv
from composed.pictures.glyphs import FONT
from composed.scenes.scene import Material, Mixture, Scene, SoundClass, cut, sample_labels, sample_scene
from composed.scenes.sources import Source
from composed.scenes.videos import Record, VideoComposer
from composed.types import Assets, Bank, Probability, Rng, Seed, Span

# Lengths and numbers of events after the challenge's strong annotations; speech joins other sounds most often there.
CLASSES = {
    "Alarm_bell_ringing": {"pictures": "🔔⏰🛎", "weight": 1.0, "seconds": (0.6, 2.5), "repeats": (1, 3)},
    "Blender": {"pictures": "🍹🥤🫙", "weight": 1.0, "seconds": (2, 7), "repeats": (1, 1)},
    "Cat": {"pictures": "🐱🐈", "weight": 1.0, "seconds": (0.4, 1.5), "repeats": (1, 3)},
    "Dishes": {"pictures": "🍽🥣🫖", "weight": 2.0, "seconds": (0.3, 1.2), "repeats": (1, 4)},
    "Dog": {"pictures": "🐶🐕", "weight": 1.5, "seconds": (0.3, 1.5), "repeats": (1, 4)},
    "Electric_shaver_toothbrush": {"pictures": "🪥🪒", "weight": 0.7, "seconds": (3, 8), "repeats": (1, 1)},
    "Frying": {"pictures": "🍳🥘", "weight": 1.0, "seconds": (4, 8), "repeats": (1, 1)},
    "Running_water": {"pictures": "🚿🚰🛁", "weight": 2.0, "seconds": (2, 7), "repeats": (1, 1)},
    "Speech": {"pictures": "🗣👩👨", "weight": 6.0, "seconds": (0.6, 2.5), "repeats": (1, 3)},
    "Vacuum_cleaner": {"pictures": "🧹🛋", "weight": 1.0, "seconds": (4, 8), "repeats": (1, 1)},
}
STEP = 0.5  # seconds; clips start and end on multiples of it
NOTICE = """# Composed material

These clips are composed: they are not recordings of scenes, and not the clips of DCASE 2018 task 4. Only the form of
the annotation files is the challenge's. Sounds are cut from recordings and synthesised, pictures are drawn from the
glyphs of an emoji font; each clip is a section of a longer source, which has other sounds outside it. Everything
follows from the seed {seed}. The splits share neither a segment of a recording nor a parameter draw; they share the
glyphs of a class, drawn each time in other colours, places, turns and perspectives. A sound's picture is missing for
{absent:.0%} of the sounds, and for {wrong:.0%} it is that of another class.

| split | file | clips |
|---|---|---|
{table}

`sources/<video id>.mp4` holds the sources. `recipes/<video id>.json` says what is in each of them, and is read by no
later stage. File names and times in the annotations follow the challenge: `Y<video id>_<start>_<end>.wav`, and onsets
and offsets in seconds from the clip's start.
"""


class Composer(VideoComposer):
    """Composes sources and writes weak.csv, unlabel_in_domain.csv, test.csv and eval.csv as the challenge does."""

    revision: ClassVar[int] = 2
    notice: ClassVar[str] = NOTICE
    files: ClassVar[dict[str, str]] = {
        "weak": "train/weak.csv",
        "unlabelled": "train/unlabel_in_domain.csv",
        "validation": "test/test.csv",
        "test": "eval/eval.csv",
    }

    splits: ClassVar[tuple[str, ...]] = tuple(files)

    seed: Seed = 2018
    clips: dict[str, int] = Field(
        default={"weak": 96, "unlabelled": 192, "validation": 64, "test": 96}, description="Number of clips by split"
    )
    clip_seconds: float = Field(default=5.0, ge=2, multiple_of=STEP, description="Length of a clip")
    source_seconds: Span = Field(default=(8.0, 12.0), description="Bounds of the length of the source around a clip")
    short_clips: Probability = Field(default=0.03, description="Share of clips that are shorter, by up to 40 %")
    without_events: dict[str, Probability] = Field(
        default={"unlabelled": 0.05, "test": 0.03}, description="Share of clips in which nothing happens, by split"
    )
    classes: dict[str, SoundClass] = Field(
        default={name: SoundClass.model_validate({"sound": name, **about}) for name, about in CLASSES.items()},
        min_length=1,
        description="The labels: how their sources sound and look",
    )
    mixture: Mixture = Field(default=Mixture(), description="How sounds and pictures are put together")

    @property
    def assets(self) -> tuple[str, ...]:
        return FONT, "dog_recording", "water_recording"

    @model_validator(mode="after")
    def consistent(self) -> Self:
        if set(self.clips) != set(self.files) or min(self.clips.values()) < 1:
            raise ValueError(f"clips: give each of {', '.join(self.files)} at least 1")
        if set(self.without_events) - set(self.files):
            raise ValueError(f"without_events: the splits are {', '.join(self.files)}")
        if not self.clip_seconds + 2 * STEP <= self.source_seconds[0] <= self.source_seconds[1]:
            raise ValueError(f"source_seconds: sources must be at least {2 * STEP} s longer than clip_seconds")
        if self.without_events.get("weak"):
            raise ValueError("without_events: every weakly labelled clip has a label, leave 'weak' out")
        return self

    def glyphs(self) -> Mapping[str, str]:
        return {label: about.pictures for label, about in self.classes.items()}

    def sounding(self) -> Iterable[str]:
        return {about.sound for about in self.classes.values()}

    def scene(self, bank: Bank, sample_rate: int, source: Source, rng: Rng) -> Scene:
        """One source. The classes take turns as a clip's first label, so that every split has all of them."""
        length = self.clip_seconds
        if rng.random() < self.short_clips:
            length -= STEP * rng.integers(1, max(2, int(0.4 * length / STEP) + 1))
        seconds = STEP * rng.integers(round(self.source_seconds[0] / STEP), round(self.source_seconds[1] / STEP) + 1)
        start = STEP * rng.integers(1, round((seconds - length) / STEP))
        section = (float(start), float(start + length))
        labels = sample_labels(self.mixture, self.classes, rng, list(self.classes)[source.index % len(self.classes)])
        if rng.random() < self.without_events.get(source.split, 0):
            labels = []
        material = Material(self.mixture, self.classes, bank, sample_rate, source.split)
        return sample_scene(material, rng, float(seconds), section, labels)

    def write(self, assets: Assets, folder: Path, workers: int) -> None:
        """What is there already of the same composition is kept."""
        records = self.write_sources(self.sources(assets, self.clips), assets, folder, workers)
        for split, file in self.files.items():
            mine = {name: record for name, record in sorted(records.items()) if record["split"] == split}
            write_csv(folder / file, annotations(split, mine), delimiter="\t")
        table = [(split, f"`{file}`", self.clips[split]) for split, file in self.files.items()]
        self.write_notice(folder, table, absent=self.mixture.picture_absent, wrong=self.mixture.picture_wrong)


def annotations(split: str, records: Mapping[str, Record]) -> Iterator[tuple[str, ...]]:
    """The rows of a split's annotation file, the header first."""
    yield {"weak": ("filename", "event_labels"), "unlabelled": ("filename",)}.get(
        split, ("filename", "onset", "offset", "event_label")
    )
    for name, record in records.items():
        start, end = record["section"]
        filename = f"Y{name}_{start:.3f}_{end:.3f}.wav"
        events = cut([(e["onset"], e["offset"], e["label"]) for e in record["events"]], (start, end))
        if split == "weak":
            yield filename, ",".join(sorted({label for _, _, label in events}))
        elif split == "unlabelled":
            yield (filename,)
        elif events:
            yield from ((filename, f"{onset:.3f}", f"{offset:.3f}", label) for onset, offset, label in events)
        else:
            yield filename, "", "", ""
