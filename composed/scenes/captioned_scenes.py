"""Corpora of captioned scenes: up to four events a clip, whose order is known exactly, and captions that tell it.

`folder/recipes/` keeps what is heard in each source, and `folder/truth.csv` the same by caption: the readers put it
beside the captions, and what is read out of a caption is compared with it. Nothing that is fetched, trained or scored
by captions reads either.
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple, cast

import numpy as np
from pydantic import Field, field_validator

from composed.files import write_csv
from composed.scenes.casts import GAP, LONG_ENOUGH, Casting
from composed.scenes.scene import Event, Scene
from composed.scenes.soundscape import Pitched
from composed.scenes.soundtracks import SoundtrackMaker, write_sources
from composed.scenes.sources import Source, SourceComposer
from composed.sounds.envelopes import shaped
from composed.sounds.waveforms import peak, ramps, trimmed
from composed.text.caption_templates import KINDS, Caption, captions
from composed.types import Assets, Bank, Probability, Rng, Span, Waveform
from workflow_scripts.corpora.truth import COLUMNS
from workflow_scripts.errors import UserError

RECORDINGS = ("cow", "dog", "duck", "frog", "owl", "pig", "rainforest", "train", "water")  # enough for three splits
CLIPS = {"train": 320, "validation": 48, "test": 64}
BACKGROUND: Literal["background"] = "background"

SHORTEST, LONGEST = 0.3, 3.0  # seconds of an event
EDGE = 0.1  # seconds without an event at the ends of a clip
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


@dataclass(frozen=True)
class HeardScene(Scene):
    """A scene, and what is heard in it as captions say it."""

    heard: list[Heard]


class CaptionedClip(NamedTuple):
    """A composed clip: its section of the source in seconds, what is heard in the source, what is said of the clip."""

    source: Source
    section: Span
    heard: list[Heard]
    captions: Sequence[Caption] = ()


class Repertoire:
    """A sound bank with single kinds of alarms."""

    def __init__(self, bank: Bank) -> None:
        from composed.sounds import alarms

        self.bank, self.background = bank, bank.background
        self.alarms: dict[str, Callable[[Rng, float], Waveform]] = {
            "alarm bell": alarms.mechanical_bell,
            "beeper": alarms.beeper,
            "siren": alarms.siren,
        }

    def draw(self, sound: str, split: str, rng: Rng, seconds: float | None = None) -> Waveform:
        if sound in self.alarms and seconds is not None:
            return peak(trimmed(self.alarms[sound](rng, seconds)))
        return self.bank.draw(sound, split, rng, seconds)


TemporalShare = Annotated[
    Probability,
    Field(description="Share of the captions of several events that say which come when; the others list them"),
]


class CaptionedScenes(Casting, SourceComposer):
    """A composer of such a corpus but for the places of clips in their sources and the annotation files."""

    revision: ClassVar[int] = 2
    notice: ClassVar[str] = NOTICE
    splits: ClassVar[tuple[str, ...]] = ("train", "validation", "test")
    of: ClassVar[str]  # the data set that has this form
    references: ClassVar[dict[str, int]]  # captions of a clip by split
    stop: ClassVar[str]  # at the end of a caption

    clips: dict[str, int] = Field(default=CLIPS, description="Number of clips by split")
    temporal: TemporalShare
    pitch: Span = Field(default=(0.8, 1.25), description="Bounds of the speed, and so of the pitch, of a sound")
    snr_db: Span = Field(default=(8, 20), description="Bounds of an event's level over the noise, in dB")
    background_snr_db: Span = Field(
        default=(1, 6), description="The same for an event that goes on through the clip, in dB"
    )
    noise_dbfs: Span = Field(default=(-40, -30), description="Bounds of the noise's level, in dB full scale")

    @property
    def assets(self) -> tuple[str, ...]:
        return tuple(f"{name}_recording" for name in RECORDINGS)

    @field_validator("clips")
    @classmethod
    def every_split(cls, clips: dict[str, int]) -> dict[str, int]:
        if set(clips) != set(cls.splits) or min(clips.values()) < 2:
            raise ValueError(f"give each of {', '.join(cls.splits)} at least 2")
        return clips

    @abstractmethod
    def place(self, source: Source) -> tuple[float, Span]:
        """The length of a source in seconds, and its clip's section of it."""

    def sounding(self) -> Iterable[str]:
        return {KINDS[name].sound for name in self.kinds}

    def scene(self, bank: Bank, sample_rate: int, source: Source, rng: Rng) -> HeardScene:
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
        return HeardScene(
            seconds=seconds,
            section=section,
            sample_rate=sample_rate,
            background=bank.background(source.split, rng, seconds),
            background_dbfs=float(rng.uniform(*self.noise_dbfs)),
            events=tuple(sorted(events, key=lambda event: event.onset)),
            pictures=(),
            backdrop_seed=0,
            heard=heard,
        )

    def write(self, assets: Assets, folder: Path, workers: int) -> None:
        wanted = [self.named(source) for source in self.sources(assets, self.clips)]
        made = write_sources(CaptionedSoundtrackMaker, self, wanted, assets, folder, workers)
        clips = [self.captioned(clip) for clip in made]
        self.annotate(clips, folder)
        self.write_truth(clips, folder)
        table = [(split, self.clips[split], self.references[split]) for split in self.splits]
        self.write_notice(folder, table, of=self.of)

    @abstractmethod
    def annotate(self, clips: Sequence[CaptionedClip], folder: Path) -> None:
        """Writes the annotation files."""

    @abstractmethod
    def clip_id(self, clip: CaptionedClip) -> str:
        """The id that the corpus's reader gives a clip."""

    def named(self, source: Source) -> Source:
        """The source under the name that it has in the corpus."""
        return source

    def captioned(self, clip: CaptionedClip) -> CaptionedClip:
        """A clip with as many different captions as its split has of each."""
        foreground = [event for event in clip.heard if isinstance(event.order, int)]
        groups = [[event.kind for event in group] for _, group in groupby(foreground, lambda event: event.order)]
        background = next((event.kind for event in clip.heard if event.order == BACKGROUND), None)
        rng, count = self.generator(clip.source, 2), self.references[clip.source.split]
        return clip._replace(captions=captions(groups, background, self.temporal, rng, self.stop, count))

    def write_truth(self, clips: Sequence[CaptionedClip], folder: Path) -> None:
        """Writes truth.csv, a row for each event of each caption of the clips by id.

        `order` is a number from 1, alike for events at the same time, or "background"; onsets and offsets are seconds
        from the clip's start; `temporal` is 1 if the caption says the order, 0 if it lists the events; `wording` is
        the caption's own for the event.
        """
        rows = [
            (
                *(self.clip_id(clip), number, int(said.temporal), event.kind, event.order),
                round(max(event.onset, clip.section[0]) - clip.section[0], 3),
                round(min(event.offset, clip.section[1]) - clip.section[0], 3),
                said.wordings[event.kind],
            )
            for clip in clips
            for number, said in enumerate(clip.captions, 1)
            for event in clip.heard
            if event.order is not None
        ]
        write_csv(folder / "truth.csv", [COLUMNS, *rows])


@dataclass(frozen=True)
class Player:
    """Draws and places the sounds of one source."""

    bank: Bank
    sample_rate: int
    split: str
    rng: Rng

    def draw(self, name: str, longest: float) -> Waveform:
        """A sound of a kind with its envelope, at most `longest` seconds; the end of a longer one is faded out."""
        about = KINDS[name]
        shortest = min(longest, LONG_ENOUGH if about.envelope else 1.0)
        for _ in range(ATTEMPTS):
            wish = float(self.rng.uniform(shortest, max(shortest, min(longest, LONGEST))))
            sound = self.bank.draw(about.sound, self.split, self.rng, wish)[: int(longest * self.sample_rate)]
            if len(sound) >= SHORTEST * self.sample_rate:
                sound = ramps(sound, 0, 0.03)
                return shaped(about.envelope, sound, self.sample_rate, self.rng) if about.envelope else sound
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


class CaptionedSoundtrackMaker(SoundtrackMaker):
    """Writes sources and their recipes."""

    def make(self, source: Source) -> CaptionedClip:
        scene = cast(HeardScene, self.record(source))
        recipe = {"seconds": scene.seconds, "section": scene.section, "heard": [e._asdict() for e in scene.heard]}
        self.place("recipes", f"{source.id}.json").write_text(json.dumps(recipe, indent=1), encoding="utf-8")
        return CaptionedClip(source, scene.section, scene.heard)
