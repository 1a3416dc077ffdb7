"""Corpora of captioned scenes: up to four events a clip, whose order is known exactly, and captions that tell it.

`folder/recipes/` keeps what is heard in each source, and `folder/truth.csv` the same by caption: the readers put it
beside the captions, and what is read out of a caption is compared with it. Nothing that is fetched, trained or scored
by captions reads either.
"""

import json
import shutil
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from workflow_scripts.corpora.compose import scene as scenes
from workflow_scripts.corpora.compose.caption_templates import KINDS, Caption, captions
from workflow_scripts.corpora.compose.manners import shaped
from workflow_scripts.corpora.compose.scene import Bank, Event, Probability, Rng, Scene, Span, Waveform, ordered
from workflow_scripts.corpora.compose.soundscape import Pitched, write_csv
from workflow_scripts.corpora.compose.soundtracks import in_studios, save
from workflow_scripts.corpora.compose.sources import Assets, Source, sources
from workflow_scripts.corpora.truth import COLUMNS
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.progress import progress
from workflow_scripts.settings.base import Strict
from workflow_scripts.shards import atomic

RECORDINGS = (
    "cow",
    "dog",
    "duck",
    "frog",
    "owl",
    "pig",
    "rainforest",
    "train",
    "water",
)  # long enough for three splits
SPLITS = ("train", "validation", "test")
CLIPS = {"train": 320, "validation": 48, "test": 64}
BACKGROUND: Literal["background"] = "background"

SHORTEST, LONGEST = 0.3, 3.0  # seconds of an event
LONG_ENOUGH = 2.0  # seconds to hear a manner
EDGE, GAP = 0.1, 0.25  # seconds without an event at the ends of a clip, and between events that follow each other
PAIR = 0.75  # share of a group's time that each of two events at the same time may take
DELAY = 0.25  # of the shorter one: the most by which the second comes later
OUTSIDE = 0.8  # probability of another sound before, and of one after a clip, in its source
ATTEMPTS = 30  # to draw a sound that is long enough

NOTICE = """# Composed material

These clips are composed: they are not recordings of scenes, and not the clips of {of}. Only the form of the annotation
files is that data set's. Sounds are cut from recordings and synthesised, and played at random speeds and levels over
noise. Captions are made from templates, by what is heard in a clip. Everything follows from the seed {seed}. The splits
share neither a segment of a recording nor a parameter draw.

| split | clips | captions a clip |
|---|---|---|
{table}

`sources/` holds the sources, sound only. `truth.csv` and `recipes/` hold what is heard when; no model reads them.
"""


class Heard(NamedTuple):
    """A sound in a source, seconds from the source's start.

    Events of a clip are numbered from 1, those at the same time alike; None is outside the clip.
    """

    kind: str
    order: int | Literal["background"] | None
    onset: float
    offset: float


class Clip(NamedTuple):
    """A composed clip: its section of the source in seconds, what is heard in the source, what is said of the clip."""

    source: Source
    section: Span
    heard: list[Heard]
    captions: Sequence[Caption] = ()


class Repertoire:
    """A sound bank with single kinds of alarms."""

    def __init__(self, bank: Bank) -> None:
        from workflow_scripts.corpora.compose import alarms

        self.bank, self.background = bank, bank.background
        self.alarms: dict[str, Callable[[Rng, float], Waveform]] = {
            "alarm bell": alarms.mechanical_bell,
            "beeper": alarms.beeper,
            "siren": alarms.siren,
        }

    def draw(self, sound: str, split: str, rng: Rng, seconds: float | None = None) -> Waveform:
        from workflow_scripts.corpora.compose.synthesis import peak, trimmed

        if sound in self.alarms and seconds is not None:
            return peak(trimmed(self.alarms[sound](rng, seconds)))
        return self.bank.draw(sound, split, rng, seconds)


class CaptionedScenes(Strict):
    """Base of composers: settings, scenes and captions; a composer adds the clips' places and the annotation files."""

    revision: ClassVar[int]
    references: ClassVar[dict[str, int]]  # captions of a clip by split
    stop: ClassVar[str]  # at the end of a caption
    assets: ClassVar[tuple[str, ...]] = tuple(f"{name}_recording" for name in RECORDINGS)

    seed: int = Field(ge=0, description="From which everything follows")
    clips: dict[str, int] = Field(default=CLIPS, description="Number of clips by split")
    kinds: tuple[str, ...] = Field(default=tuple(KINDS), description="Kinds of events: names in `caption_templates.py`")
    events: dict[int, float] = Field(
        default={1: 0.12, 2: 0.4, 3: 0.32, 4: 0.16}, description="Weight of each number of events in a clip"
    )
    together: Probability = Field(default=0.25, description="Probability that an event comes together with the next")
    background: Probability = Field(
        default=0.3, description="Probability that one of several events goes on through the clip"
    )
    temporal: Probability = Field(
        description="Share of the captions of several events that say which come when; the others list them"
    )
    pitch: Span = Field(default=(0.8, 1.25), description="Bounds of the speed, and so of the pitch, of a sound")
    snr_db: Span = Field(default=(8, 20), description="Bounds of an event's level over the noise, in dB")
    background_snr_db: Span = Field(
        default=(1, 6), description="The same for an event that goes on through the clip, in dB"
    )
    noise_dbfs: Span = Field(default=(-40, -30), description="Bounds of the noise's level, in dB full scale")

    check_bounds = field_validator("pitch", "snr_db", "background_snr_db", "noise_dbfs")(ordered)

    @field_validator("kinds")
    @classmethod
    def known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for name in kinds:
            if name not in KINDS:
                raise ValueError(f"'{name}' is no kind of event{did_you_mean(name, KINDS)}")
        return kinds

    @field_validator("clips")
    @classmethod
    def every_split(cls, clips: dict[str, int]) -> dict[str, int]:
        if set(clips) != set(SPLITS) or min(clips.values()) < 2:
            raise ValueError(f"give each of {', '.join(SPLITS)} at least 2")
        return clips

    @model_validator(mode="after")
    def enough(self) -> Self:
        weights = self.events.values()
        if not set(self.events) <= {1, 2, 3, 4} or min(weights, default=0) < 0 or not sum(weights):
            raise ValueError("events: name numbers from 1 to 4 with weights of which one is above 0")
        sounds = {KINDS[name].sound for name in self.kinds if KINDS[name].manner is None}
        if len(sounds) < max(self.events):
            raise ValueError(f"kinds: {len(sounds)} sounds without a manner are too few for {max(self.events)} events")
        return self

    @abstractmethod
    def place(self, source: Source) -> tuple[float, Span]:
        """The length of a source in seconds, and its clip's section of it."""

    def generator(self, source: Source, purpose: int) -> Rng:
        """The random numbers of a source for one purpose, shared with no other split."""
        return np.random.default_rng([self.seed, SPLITS.index(source.split), source.index, purpose])

    def cast(self, rng: Rng, seconds: float) -> tuple[list[list[str]], str | None]:
        """The kinds in a clip, no sound twice: groups in their order (one or two at the same time), the background."""
        numbers, weights = list(self.events), np.array(list(self.events.values()))
        left = int(rng.choice(numbers, p=weights / weights.sum()))
        lasting = [name for name in self.kinds if KINDS[name].lasting]
        background = None
        if left > 1 and lasting and rng.random() < self.background:
            background, left = lasting[rng.integers(len(lasting))], left - 1
        sizes = []
        while left:
            sizes.append(2 if left > 1 and rng.random() < self.together else 1)
            left -= sizes[-1]
        fitting = [n for n in self.kinds if KINDS[n].manner is None or seconds / len(sizes) >= LONG_ENOUGH + GAP]
        by_sound: dict[str, list[str]] = {}
        for name in fitting:
            by_sound.setdefault(KINDS[name].sound, []).append(name)
        others = [sound for sound in by_sound if background is None or sound != KINDS[background].sound]
        drawn = iter(rng.permutation(others)[: sum(sizes)].tolist())
        named = [[by_sound[next(drawn)] for _ in range(size)] for size in sizes]
        return [[names[rng.integers(len(names))] for names in group] for group in named], background

    def scene(self, bank: Bank, sample_rate: int, source: Source, rng: Rng) -> tuple[Scene, list[Heard]]:
        """A source, and what is heard in it: the clip's events in their order, those outside it last."""
        seconds, section = self.place(source)
        player = Player(Pitched(Repertoire(bank), self.pitch), sample_rate, source.split, rng)
        groups, background = self.cast(rng, section[1] - section[0])
        played = list(player.timeline(groups, section))
        heard = [Heard(name, order, onset, onset + len(sound) / sample_rate) for name, order, onset, sound in played]
        levels, sounds = [self.snr_db] * len(heard), [sound for *_, sound in played]
        if background is not None:
            heard.append(Heard(background, BACKGROUND, 0.0, seconds))
            sounds.append(player.bank.draw(KINDS[background].sound, source.split, rng, seconds))
            levels.append(self.background_snr_db)
        for start, end in ((0.0, section[0]), (section[1], seconds)):
            if end - start > 2 * SHORTEST and rng.random() < OUTSIDE:
                name = self.kinds[rng.integers(len(self.kinds))]
                sound = player.draw(name, end - start - EDGE)
                onset = start + float(rng.uniform(0, end - start - len(sound) / sample_rate))
                heard.append(Heard(name, None, onset, onset + len(sound) / sample_rate))
                sounds.append(sound)
                levels.append(self.snr_db)
        events = [
            Event(about.kind, about.onset, about.offset, float(rng.uniform(*level)), sound)
            for about, level, sound in zip(heard, levels, sounds, strict=True)
        ]
        scene = Scene(
            seconds=seconds,
            section=section,
            sample_rate=sample_rate,
            background=bank.background(source.split, rng, seconds),
            background_dbfs=float(rng.uniform(*self.noise_dbfs)),
            events=tuple(sorted(events, key=lambda event: event.onset)),
            pictures=(),
            backdrop_seed=0,
        )
        return scene, heard

    def composed(self, assets: Assets, folder: Path, workers: int) -> list[Clip]:
        """Writes sources and recipes below `folder` in place of any others; the clips with their captions.

        Raises `UserError` when an asset is missing or unfit, or a process is killed.
        """
        for name in self.assets:
            if name not in assets:
                raise UserError(f"the asset '{name}' is not given; add --asset {name}=PATH")
        given = {name: assets[name] for name in self.assets}
        composition = self.model_dump(mode="json", exclude={"clips"}) | {"revision": self.revision}
        wanted = [self.named(source) for source in sources(composition, given, self.clips)]
        for kept in ("sources", "recipes"):
            shutil.rmtree(folder / kept, ignore_errors=True)
        made = in_studios(Studio, (self, given, folder), wanted, workers)
        return [self.captioned(clip) for clip in progress(made, "compose", len(wanted), "source")]

    def named(self, source: Source) -> Source:
        """The source under the name that it has in the corpus."""
        return source

    def captioned(self, clip: Clip) -> Clip:
        """A clip with as many different captions as its split has of each."""
        foreground = [event for event in clip.heard if isinstance(event.order, int)]
        groups = [[event.kind for event in group] for _, group in groupby(foreground, lambda event: event.order)]
        background = next((event.kind for event in clip.heard if event.order == BACKGROUND), None)
        rng, count = self.generator(clip.source, 2), self.references[clip.source.split]
        return clip._replace(captions=captions(groups, background, self.temporal, rng, self.stop, count))

    def write_truth(self, folder: Path, clips: Mapping[str, Clip], of: str) -> None:
        """Writes truth.csv, a row for each event of each caption of the clips by id, and COMPOSED.md.

        `order` is a number from 1, alike for events at the same time, or "background"; onsets and offsets are seconds
        from the clip's start; `temporal` is 1 if the caption says the order, 0 if it lists the events; `wording` is
        the caption's own for the event.
        """
        rows = [
            (
                *(clip_id, number, int(said.temporal), event.kind, event.order),
                round(max(event.onset, clip.section[0]) - clip.section[0], 3),
                round(min(event.offset, clip.section[1]) - clip.section[0], 3),
                said.wordings[event.kind],
            )
            for clip_id, clip in clips.items()
            for number, said in enumerate(clip.captions, 1)
            for event in clip.heard
            if event.order is not None
        ]
        write_csv(folder / "truth.csv", [COLUMNS, *rows])
        table = "\n".join(f"| {split} | {self.clips[split]} | {self.references[split]} |" for split in SPLITS)
        with atomic(folder / "COMPOSED.md") as temporary:
            temporary.write_text(NOTICE.format(of=of, seed=self.seed, table=table), encoding="utf-8")


@dataclass(frozen=True)
class Player:
    """Draws and places the sounds of one source."""

    bank: Bank
    sample_rate: int
    split: str
    rng: Rng

    def draw(self, name: str, longest: float) -> Waveform:
        """A sound of a kind in its manner, at most `longest` seconds; the end of a longer one is faded out."""
        from workflow_scripts.corpora.compose.synthesis import ramps

        about = KINDS[name]
        shortest = min(longest, LONG_ENOUGH if about.manner else 1.0)
        for _ in range(ATTEMPTS):
            wish = float(self.rng.uniform(shortest, max(shortest, min(longest, LONGEST))))
            sound = self.bank.draw(about.sound, self.split, self.rng, wish)[: int(longest * self.sample_rate)]
            if len(sound) >= SHORTEST * self.sample_rate:
                sound = ramps(sound, 0, 0.03)
                return shaped(about.manner, sound, self.sample_rate, self.rng) if about.manner else sound
        raise UserError(f"the sound '{about.sound}' is never as long as {SHORTEST} s; leave out the kind '{name}'")

    def timeline(self, groups: Sequence[Sequence[str]], section: Span) -> Iterator[tuple[str, int, float, Waveform]]:
        """The events of a clip as kind, order from 1, onset in the source and sound, a group after the other."""
        room = section[1] - section[0] - 2 * EDGE - GAP * (len(groups) - 1)
        drawn = [list(self.group(names, room / len(groups))) for names in groups]
        lengths = [max(delay + len(sound) / self.sample_rate for _, delay, sound in group) for group in drawn]
        pauses = self.rng.dirichlet(np.ones(len(groups) + 1)) * max(0.0, room - sum(lengths))
        clock = section[0] + EDGE
        for order, (group, length, pause) in enumerate(zip(drawn, lengths, pauses[:-1], strict=True), 1):
            clock += pause
            for name, delay, sound in group:
                yield name, order, clock + delay, sound
            clock += length + GAP

    def group(self, names: Sequence[str], longest: float) -> Iterator[tuple[str, float, Waveform]]:
        """Events at the same time as kind, delay in seconds and sound, done after `longest` seconds."""
        sounds = [self.draw(name, longest * (1 if len(names) == 1 else PAIR)) for name in names]
        delay = self.rng.uniform(0, DELAY) * min(map(len, sounds)) / self.sample_rate
        for number, (name, sound) in enumerate(zip(names, sounds, strict=True)):
            yield name, number * delay, sound


class Studio:
    """All that one process needs to compose sources."""

    def __init__(self, composer: CaptionedScenes, assets: Assets, folder: Path) -> None:
        from workflow_scripts.corpora.compose.sounds import SAMPLE_RATE, SoundBank

        self.composer, self.folder, self.sample_rate = composer, folder, SAMPLE_RATE
        self.bank = SoundBank(assets, SPLITS, composer.seed)

    def make(self, source: Source) -> Clip:
        """Composes a source and its recipe, whatever was composed before it."""
        scene, heard = self.composer.scene(self.bank, self.sample_rate, source, self.composer.generator(source, 1))
        save(self.folder / "sources" / f"{source.id}.flac", scenes.waveform(scene), self.sample_rate)
        recipe = {"seconds": scene.seconds, "section": scene.section, "heard": [event._asdict() for event in heard]}
        with atomic(self.folder / "recipes" / f"{source.id}.json") as temporary:
            temporary.write_text(json.dumps(recipe, indent=1), encoding="utf-8")
        return Clip(source, scene.section, heard)
