"""Scenes: which sounds are heard when in a composed source, and what is seen meanwhile.

A scene is sampled from settings and a random generator, and rendered into a waveform and frames. Its `section` is the
part of the source that a corpus uses as its clip; the source has sounds before and after it as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from composed.pictures.glyphs import Pictures
from composed.types import Bank, Probability, Rng, Span, Waveform, WholeSpan
from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import Strict

ATTEMPTS = 30  # to draw a sound that is long enough, or to find a free place for it
SAME_LABEL_GAP = 0.2  # seconds between events of one label: closer ones would be heard as one


class SoundClass(Strict):
    """How sources of one label sound and look."""

    sound: str = Field(description="Name in the sound bank")
    pictures: str = Field(description="Characters of the emoji font that show it")
    weight: float = Field(default=1, ge=0, description="How often it joins other sounds, relative to the other classes")
    seconds: Span = Field(description="Bounds of the length asked of the sound bank; single events have their own")
    repeats: WholeSpan = Field(default=(1, 1), description="Bounds of the number of events in one clip")


class Mixture(Strict):
    """What a scene is mixed from."""

    classes_per_clip: dict[int, float] = Field(
        default={1: 0.6, 2: 0.33, 3: 0.07}, description="Weight of each number of different labels in a clip"
    )
    overlap: bool = Field(default=True, description="Whether events of different labels may sound at once")
    snr_db: Span = Field(default=(6, 25), description="Bounds of an event's level over the background, in dB")
    background_dbfs: Span = Field(default=(-52, -40), description="Bounds of the background's level, in dB full scale")
    shortest: float = Field(default=0.25, gt=0, description="Seconds; no event, nor its part in a clip, is shorter")
    visible_share: Probability = Field(
        default=0.5, description="Share of an event (of the clip, if that is shorter) that must lie inside the clip"
    )
    outside: Probability = Field(
        default=0.5, description="Probability of a sound before, and of one after the clip that do not reach into it"
    )
    picture_absent: Probability = Field(default=0.25, description="Share of sounds whose source is never seen")
    picture_wrong: Probability = Field(default=0.10, description="Share of sounds with another class's picture")

    @field_validator("classes_per_clip")
    @classmethod
    def some_weight(cls, weights: dict[int, float]) -> dict[int, float]:
        if min(weights, default=0) < 1 or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise ValueError("name numbers from 1 with weights of which one is above 0")
        return weights


@dataclass(frozen=True)
class Material:
    """What the scenes of one split are sampled from."""

    mixture: Mixture
    classes: Mapping[str, SoundClass]
    bank: Bank
    sample_rate: int
    split: str


@dataclass(frozen=True)
class Event:
    """A sound in a source, seconds from the source's start; `gain_db` is its level over the background."""

    label: str
    onset: float
    offset: float
    gain_db: float
    waveform: Waveform


@dataclass(frozen=True)
class Picture:
    """What is seen from `onset` to `offset`; its looks are drawn from `seed`."""

    subject: str
    onset: float
    offset: float
    seed: int


@dataclass(frozen=True)
class Scene:
    """A source of `seconds` whose clip is `section`; events in the order of their onsets."""

    seconds: float
    section: Span
    sample_rate: int
    background: Waveform
    background_dbfs: float
    events: tuple[Event, ...]
    pictures: tuple[Picture, ...]
    backdrop_seed: int


def sample_labels(mixture: Mixture, classes: Mapping[str, SoundClass], rng: Rng, first: str) -> list[str]:
    """`first` and the labels that join it, drawn by their weights without repetition."""
    counts = np.array(list(mixture.classes_per_clip))
    weights = np.array(list(mixture.classes_per_clip.values()))
    others = [label for label in classes if label != first and classes[label].weight > 0]
    joining = min(int(rng.choice(counts, p=weights / weights.sum())) - 1, len(others))
    if not joining:
        return [first]
    chances = np.array([classes[label].weight for label in others])
    return [first, *rng.choice(others, size=joining, replace=False, p=chances / chances.sum()).tolist()]


def sample_scene(material: Material, rng: Rng, seconds: float, section: Span, labels: Sequence[str]) -> Scene:
    """A scene whose section has events of `labels` (see `sample_labels`), which may be none.

    Every event's part in the section is at least `mixture.shortest` seconds long. An event for which no place is free
    (because of others of its label or, without `mixture.overlap`, of any) is left out, but never the first one.
    """
    mixture, names = material.mixture, list(material.classes)
    sampler = _Sampler(material, rng, seconds)
    for label in labels:
        fewest, most = material.classes[label].repeats
        for _ in range(rng.integers(fewest, most + 1)):
            sampler.add(label, section)
    for side in ((0.0, section[0]), (section[1], seconds)):
        if rng.random() < mixture.outside and side[1] - side[0] > 2 * mixture.shortest:
            sampler.add(names[rng.integers(len(names))], side, inside=True)
    return Scene(
        seconds=seconds,
        section=section,
        sample_rate=material.sample_rate,
        background=material.bank.background(material.split, rng, seconds),
        background_dbfs=rng.uniform(*mixture.background_dbfs),
        events=tuple(sorted(sampler.events, key=lambda event: event.onset)),
        pictures=tuple(sampler.pictures()),
        backdrop_seed=int(rng.integers(2**32)),
    )


class _Sampler:
    """Places events one after the other, and then pictures of those that were placed."""

    def __init__(self, material: Material, rng: Rng, seconds: float) -> None:
        self.material, self.mixture, self.rng, self.seconds = material, material.mixture, rng, seconds
        self.events: list[Event] = []

    def add(self, label: str, span: Span, inside: bool = False) -> None:
        """Places an event of `label`, if it can, so that its visible share or (`inside`) all of it lies in `span`."""
        waveform = self.draw(label, span[1] - span[0] if inside else self.seconds)
        length = len(waveform) / self.material.sample_rate
        share = 1.0 if inside else self.mixture.visible_share
        # A millisecond more than the shortest part allows, so that times rounded to milliseconds keep it.
        visible = min(length, max(self.mixture.shortest + 0.001, share * min(length, span[1] - span[0])))
        earliest, latest = max(0.0, span[0] + visible - length), min(self.seconds - length, span[1] - visible)
        for _ in range(ATTEMPTS):
            onset = float(self.rng.uniform(earliest, latest))
            if self.free(label, onset, onset + length):
                gain = float(self.rng.uniform(*self.mixture.snr_db))
                self.events.append(Event(label, onset, onset + length, gain, waveform))
                return

    def draw(self, label: str, longest: float) -> Waveform:
        """A sound of the label, at most `longest` seconds; the end of a longer one is faded out."""
        kind, rate = self.material.classes[label], self.material.sample_rate
        for _ in range(ATTEMPTS):
            wish = min(float(self.rng.uniform(*kind.seconds)), longest)
            waveform = self.material.bank.draw(kind.sound, self.material.split, self.rng, wish)
            if len(waveform) >= (self.mixture.shortest + 0.01) * rate:
                break
        else:
            raise UserError(f"the sound '{label}' is never as long as mixture.shortest, {self.mixture.shortest} s")
        most = int(longest * rate)
        if len(waveform) > most:
            waveform = waveform[:most].copy()
            fade = min(most, rate // 20)
            waveform[most - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
        return waveform

    def free(self, label: str, onset: float, offset: float) -> bool:
        return all(
            offset + SAME_LABEL_GAP <= event.onset or event.offset + SAME_LABEL_GAP <= onset
            for event in self.events
            if event.label == label or not self.mixture.overlap
        )

    def pictures(self) -> Iterator[Picture]:
        """For every label at most one picture, seen around and between its events."""
        rng = self.rng
        for label in dict.fromkeys(event.label for event in self.events):
            others = [name for name in self.material.classes if name != label] or [label]
            fate, other = rng.random(), others[rng.integers(len(others))]
            before, after, seed = rng.uniform(-0.3, 1.0), rng.uniform(-0.3, 1.0), int(rng.integers(2**32))
            if fate < self.mixture.picture_absent:
                continue
            wrong = fate < self.mixture.picture_absent + self.mixture.picture_wrong
            mine = [event for event in self.events if event.label == label]
            onset = max(0.0, min(event.onset for event in mine) - before)
            offset = min(self.seconds, max(event.offset for event in mine) + after)
            yield Picture(other if wrong else label, onset, max(offset, onset + 0.5), seed)


def cut(events: Sequence[tuple[float, float, str]], section: Span) -> list[tuple[float, float, str]]:
    """Events (onset, offset, label) of a source as they are heard in a section of it, seconds from its start."""
    start, end = section
    return [
        (max(onset, start) - start, min(offset, end) - start, label)
        for onset, offset, label in events
        if onset < end and offset > start
    ]


def waveform(scene: Scene) -> Waveform:
    """The scene's sound, (samples,) in -1…1: events at their levels (root mean square) over the background."""
    count = round(scene.seconds * scene.sample_rate)
    floor = 10 ** (scene.background_dbfs / 20)
    mixed = scene.background[:count] * np.float32(floor / _rms(scene.background))
    for event in scene.events:
        first = round(event.onset * scene.sample_rate)
        part = event.waveform[: count - first]
        mixed[first : first + len(part)] += part * np.float32(floor * 10 ** (event.gain_db / 20) / _rms(event.waveform))
    return mixed * np.float32(0.95 / max(0.95, float(np.abs(mixed).max())))


def frames(scene: Scene, pictures: Pictures, fps: int) -> Iterator[NDArray[np.uint8]]:
    """The scene's frames, (height, width, 3) RGB, at `fps` frames a second from second 0 on."""
    backdrop = pictures.backdrop(np.random.default_rng(scene.backdrop_seed))
    columns = side_by_side(scene.pictures)
    things = [
        pictures.object(picture.subject, np.random.default_rng(picture.seed), column, max(columns) + 1)
        for picture, column in zip(scene.pictures, columns, strict=True)
    ]
    for index in range(round(scene.seconds * fps)):
        canvas = backdrop.copy()
        for picture, thing in zip(scene.pictures, things, strict=True):
            if picture.onset <= index / fps < picture.offset:
                pictures.paint(canvas, thing, index / fps - picture.onset)
        yield np.ascontiguousarray(np.clip(canvas, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def side_by_side(pictures: Sequence[Picture]) -> list[int]:
    """A column of the frame for each picture, the first in which no other picture is seen at the same time."""
    columns: list[int] = []
    for index, picture in enumerate(pictures):
        taken = {
            column
            for column, other in zip(columns, pictures[:index], strict=True)
            if picture.onset < other.offset and other.onset < picture.offset
        }
        columns.append(min(set(range(index + 1)) - taken))
    return columns


def _rms(signal: Waveform) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))) + 1e-9
