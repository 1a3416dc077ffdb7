"""Scenes of tagged videos: which topics a video has, and what is seen and heard of them.

A topic is in a video whether or not it shows: its picture and its sound may be absent or another topic's, bystanders
stand beside it and somebody may talk over it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from composed.scenes.scene import Event, Picture, Scene
from composed.text.topics import BYSTANDERS, TOPICS
from composed.types import Bank, Probability, Rng, Span, WholeSpan
from workflow_scripts.settings.base import Strict

PARTS = ("train", "validate")  # of YouTube-8M; labels of its third part were never given out
BYSTANDER = "bystander"
GLYPHS = {name: about.pictures for name, about in TOPICS.items()} | {BYSTANDER: BYSTANDERS}
SOUNDING = [name for name, about in TOPICS.items() if about.sound]
SPEECH = "Speech"


class Scenery(Strict):
    """What a composed clip consists of."""

    seconds: WholeSpan = Field(default=(4, 8), description="Bounds of a clip's length")
    second_topic: Probability = Field(default=0.4, description="Share of clips with a second topic")
    parent_kept: Probability = Field(default=0.9, description="Share of wider labels that are given to a clip")
    shown: Span = Field(default=(0.5, 1.0), description="Bounds of the share of a clip in which a picture is seen")
    picture_absent: Probability = Field(default=0.12, description="Share of topics that are not seen")
    picture_wrong: Probability = Field(default=0.05, description="Share of topics in whose place another is seen")
    bystander: Probability = Field(
        default=0.25, description="Share of clips in which something without a label is seen"
    )
    heard: Span = Field(default=(0.5, 1.0), description="Bounds of the share of a clip in which a sound is heard")
    sound_absent: Probability = Field(default=0.15, description="Share of sounding topics that are not heard")
    sound_wrong: Probability = Field(default=0.08, description="Share of clips in which another topic is heard")
    talk: Probability = Field(default=0.25, description="Share of clips in which somebody talks")
    snr_db: Span = Field(default=(8, 22), description="Bounds of a sound's level over the background, in dB")
    background_dbfs: Span = Field(default=(-52, -38), description="Bounds of the background's level, in dB full scale")


@dataclass(frozen=True)
class Clip:
    """A clip to compose: the `index`-th of a part (`train` or `validate`), and how many videos are made of it."""

    part: str
    index: int
    topic: str
    videos: int


@dataclass(frozen=True)
class Tagged:
    """A clip's scene with its topics, the main one first, and its labels."""

    topics: tuple[str, ...]
    labels: tuple[str, ...]
    scene: Scene


class LongTail(Strict):
    """How frequent topics are: in the proportions (rank + head)^-exponent (the law of Zipf and Mandelbrot)."""

    head: float = Field(default=8, ge=0, description="Makes the most frequent topics more equal")
    exponent: float = Field(default=2.5, ge=0, description="Makes the rare topics rarer")


def long_tail(videos: int, law: LongTail, fewest: int) -> list[int]:
    """How many of the videos each topic gets as the main one: `fewest` and then by the law.

    Where there are too few videos for that, all topics get what can be had, the most frequent ones first.
    """
    count = len(TOPICS)
    floor = min(fewest, videos // (2 * count))
    weights = (np.arange(1, count + 1) + law.head) ** -law.exponent
    wanted = (videos - floor * count) * weights / weights.sum()
    counts = np.floor(wanted).astype(int)
    counts[np.argsort(counts - wanted, kind="stable")[: videos - floor * count - counts.sum()]] += 1
    return [int(number) + floor for number in counts]


def clips(part: str, counts: Sequence[int], videos_a_clip: float) -> list[Clip]:
    """The clips of a part: of every topic at least two, where it has two videos."""
    found: list[Clip] = []
    for topic, videos in zip(TOPICS, counts, strict=True):
        number = min(videos, max(2, round(videos / videos_a_clip)))
        edges = np.linspace(0, videos, number + 1).astype(int)
        found += [Clip(part, len(found) + i, topic, int(n)) for i, n in enumerate(np.diff(edges))]
    return found


def sample_topics(scenery: Scenery, topic: str, rng: Rng) -> list[str]:
    """`topic` and perhaps a second one: half of the time a relative, otherwise one of the more frequent half."""
    alone = not TOPICS[topic].parents
    if not alone and rng.random() >= scenery.second_topic:
        return [topic]
    frequent = [name for name in list(TOPICS)[: len(TOPICS) // 2] if name != topic]
    relatives = [name for name in frequent if set(TOPICS[name].parents) & set(TOPICS[topic].parents)]
    others = relatives if relatives and rng.random() < 0.5 else frequent
    return [topic, others[int(rng.integers(len(others)))]]


def sample_labels(scenery: Scenery, topics: Sequence[str], rng: Rng) -> list[str]:
    """Two to four labels: the topics and most of their wider labels, which real annotations lack at times too."""
    parents = [parent for topic in topics for parent in TOPICS[topic].parents if parent not in topics]
    kept = [parent for parent in dict.fromkeys(parents) if rng.random() < scenery.parent_kept]
    return [*topics, *(kept or parents[:1])][:4]


def film(scenery: Scenery, bank: Bank, sample_rate: int, clip: Clip, rng: Rng) -> Tagged:
    """Samples a clip's scene: pictures change at whole seconds, at which frames are taken."""
    seconds = int(rng.integers(scenery.seconds[0], scenery.seconds[1] + 1))
    topics = sample_topics(scenery, clip.topic, rng)
    labels = sample_labels(scenery, topics, rng)
    scene = Scene(
        seconds=seconds,
        section=(0.0, float(seconds)),
        sample_rate=sample_rate,
        background=bank.background(clip.part, rng, seconds),
        background_dbfs=float(rng.uniform(*scenery.background_dbfs)),
        events=tuple(
            event(scenery, bank, sample_rate, clip.part, sound, seconds, rng) for sound in sounds(scenery, topics, rng)
        ),
        pictures=tuple(picture(scenery, subject, seconds, rng) for subject in subjects(scenery, topics, rng)),
        backdrop_seed=int(rng.integers(2**32)),
    )
    return Tagged(tuple(topics), tuple(labels), scene)


def subjects(scenery: Scenery, topics: Sequence[str], rng: Rng) -> list[str]:
    """What is seen."""
    seen = []
    for topic in topics:
        fate, other = rng.random(), list(TOPICS)[int(rng.integers(len(TOPICS)))]
        if fate >= scenery.picture_absent:
            seen.append(other if fate < scenery.picture_absent + scenery.picture_wrong else topic)
    if rng.random() < scenery.bystander:
        seen.append(BYSTANDER)
    return seen


def sounds(scenery: Scenery, topics: Sequence[str], rng: Rng) -> list[str]:
    """Names in the sound bank of what is heard."""
    heard = [topic for topic in topics if topic in SOUNDING and rng.random() >= scenery.sound_absent]
    if rng.random() < scenery.sound_wrong:
        heard.append(SOUNDING[int(rng.integers(len(SOUNDING)))])
    found = [str(TOPICS[topic].sound) for topic in heard]
    return [*found, SPEECH] if rng.random() < scenery.talk else found


def picture(scenery: Scenery, subject: str, seconds: int, rng: Rng) -> Picture:
    length = max(1, round(seconds * rng.uniform(*scenery.shown)))
    onset = int(rng.integers(seconds - length + 1))
    return Picture(subject, float(onset), float(onset + length), int(rng.integers(2**32)))


def event(scenery: Scenery, bank: Bank, sample_rate: int, part: str, sound: str, seconds: int, rng: Rng) -> Event:
    wish = float(seconds * rng.uniform(*scenery.heard))
    waveform = bank.draw(sound, part, rng, wish)[: seconds * sample_rate]
    length = len(waveform) / sample_rate
    onset = float(rng.uniform(0, seconds - length))
    return Event(sound, onset, onset + length, float(rng.uniform(*scenery.snr_db)), waveform)
