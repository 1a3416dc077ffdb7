"""A small composed corpus in the form of EPIC-KITCHENS-100: actions in videos, each a verb and a noun.

The noun is the thing that sounds, the verb is its envelope: how its loudness goes. So a verb is only known by the order
of what is heard in time, whatever the thing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from composed.files import write_csv
from composed.scenes.scene import Event, Scene
from composed.scenes.soundscape import Pitched, Soundscape, SoundscapeComposer
from composed.scenes.sources import Source
from composed.sounds.envelopes import LONG, Envelope, seconds, shaped
from composed.types import Assets, Bank, Rng, Seed
from workflow_scripts.shards import shard_of

VERBS: dict[str, Envelope] = {
    "touch": "briefly",
    "pulse": "pulsing",
    "tap": "repeatedly",
    "turn-up": "rising",
    "turn-down": "falling",
}
NOUNS = {
    "blender": "Blender",
    "pan": "Frying",
    "tap": "Running_water",
    "toothbrush": "Electric_shaver_toothbrush",
    "vacuum": "Vacuum_cleaner",
    "window:rain": "rain",
}
FILES = {"EPIC_100_train.csv": ("train", "validation"), "EPIC_100_validation.csv": ("test",)}
PARTICIPANTS = 6
FRAME_RATE = 60
COLUMNS = (
    "narration_id", "participant_id", "video_id", "narration_timestamp", "start_timestamp", "stop_timestamp",
    "start_frame", "stop_frame", "narration", "verb", "verb_class", "noun", "noun_class", "all_nouns",
    "all_noun_classes",
)  # fmt: skip


class Action(NamedTuple):
    """What is done in a video, seconds from its start."""

    verb: str
    noun: str
    start: float
    stop: float


class Composer(SoundscapeComposer):
    """Composes videos without pictures, and writes the annotation files of the train and the validation part."""

    of: ClassVar[str] = "EPIC-KITCHENS-100"

    seed: Seed = 100
    clips: dict[str, int] = Field(
        default={"train": 240, "validation": 120, "test": 400}, description="Number of actions by split"
    )
    clip_seconds: float = Field(default=4.0, ge=LONG[1] + 0.5, description="Length of the longest action")
    actions: int = Field(default=4, ge=1, description="Actions in a video; the last one may have fewer")
    verbs: dict[str, Envelope] = Field(default=VERBS, min_length=2, description="How a thing sounds, by verb")
    nouns: dict[str, str] = Field(
        default=NOUNS, min_length=2, description="Which sound of the sound bank, one that goes on, by noun"
    )
    soundscape: Soundscape = Field(
        default=Soundscape(snr_db=(0, 15)), description="At which pitch and level sounds are heard"
    )

    @property
    def assets(self) -> tuple[str, ...]:
        return ("water_recording",)

    @model_validator(mode="after")
    def every_action_in_all(self) -> Self:
        self.check_clips(len(self.verbs) * len(self.nouns), "verbs times nouns")
        return self

    def schedule(self, source: Source) -> list[Action]:
        """The actions of a video. All pairs of verb and noun take turns in a split, each round in another order."""
        rng = self.generator(source, 0)
        pairs, found, clock = list(product(self.verbs, self.nouns)), [], float(rng.uniform(0.5, 1.5))
        first = source.index * self.actions
        for number in range(first, min(first + self.actions, self.clips[source.split])):
            turn, place = divmod(number, len(pairs))
            order = np.random.default_rng([self.seed, self.splits.index(source.split), turn]).permutation(len(pairs))
            length = rng.uniform(LONG[1] + 0.2, self.clip_seconds)
            verb, noun = pairs[order[place]]
            found.append(Action(verb, noun, round(clock, 2), round(clock + length, 2)))
            clock += length + rng.uniform(0.2, 1)
        return found

    def sounding(self) -> Iterable[str]:
        return set(self.nouns.values())

    def scene(self, bank: Bank, sample_rate: int, source: Source, rng: Rng) -> Scene:
        """One video, whose every action is heard somewhere between its start and its stop."""
        heard, actions = self.soundscape, self.schedule(source)
        pitched = Pitched(bank, heard.pitch)
        length = actions[-1].stop + rng.uniform(0.5, 1.5)
        events = []
        for action in actions:
            envelope = self.verbs[action.verb]
            sound = pitched.draw(self.nouns[action.noun], source.split, rng, seconds(envelope, rng))
            sound = shaped(envelope, sound[: int((action.stop - action.start) * sample_rate)], sample_rate, rng)
            onset = rng.uniform(action.start, action.stop - len(sound) / sample_rate)
            label = f"{action.verb} {action.noun}"
            events.append(Event(label, onset, onset + len(sound) / sample_rate, rng.uniform(*heard.snr_db), sound))
        return Scene(
            seconds=length,
            section=(0, length),
            sample_rate=sample_rate,
            background=pitched.background(source.split, rng, length),
            background_dbfs=rng.uniform(*heard.background_dbfs),
            events=tuple(events),
            pictures=(),
            backdrop_seed=0,
        )

    def of_one_source(self) -> dict[str, Any]:
        """All settings: the last video of a split has as many actions as are left of the clips."""
        return self.identity()

    def wanted(self, assets: Assets) -> list[Source]:
        """The videos of all splits, named like the data set's by a participant and a number."""
        counts = {split: -(-self.clips[split] // self.actions) for split in self.splits}
        return [
            replace(source, id=f"P{source.index % PARTICIPANTS + 1:02d}_{shard_of(source.id, 10**9)}")
            for source in self.sources(assets, counts)
        ]

    def annotate(self, sources: Sequence[Source], folder: Path) -> None:
        for file, splits in FILES.items():
            narrations = [row for source in sources if source.split in splits for row in self.narrations(source)]
            write_csv(folder / file, [COLUMNS, *narrations])
        for kind, names in (("verb", list(self.verbs)), ("noun", list(self.nouns))):
            classes = [(number, name, f"['{name}']", "composed") for number, name in enumerate(names)]
            write_csv(folder / f"EPIC_100_{kind}_classes.csv", [("id", "key", "instances", "category"), *classes])

    def labels(self) -> str:
        verbs = ", ".join(f"{verb} (sounds {envelope})" for verb, envelope in self.verbs.items())
        return f"Verbs: {verbs}. Nouns: {', '.join(self.nouns)}."

    def narrations(self, source: Source) -> Iterator[tuple[object, ...]]:
        """The rows of a video in the annotation file of its part."""
        for number, action in enumerate(self.schedule(source)):
            verb, noun = list(self.verbs).index(action.verb), list(self.nouns).index(action.noun)
            yield (
                f"{source.id}_{number}",
                source.id.partition("_")[0],
                source.id,
                timestamp(action.start, 3),
                timestamp(action.start, 2),
                timestamp(action.stop, 2),
                max(1, int(action.start * FRAME_RATE)),
                int(action.stop * FRAME_RATE),
                f"{action.verb} {action.noun}",
                action.verb,
                verb,
                action.noun,
                noun,
                [action.noun],
                [noun],
            )


def timestamp(time: float, digits: int) -> str:
    """Seconds as hours:minutes:seconds."""
    minutes, rest = divmod(round(time, digits), 60)
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{rest:0{3 + digits}.{digits}f}"
