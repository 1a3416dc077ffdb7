"""Real recordings cut into single events or stretches of time, dealt to the splits so that none is shared."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from composed.sounds.waveforms import SAMPLE_RATE, peak, ramps, samples
from composed.types import Waveform
from workflow_scripts.errors import UserError

FRAME_SECONDS = 0.01
LONGEST_GAP = 0.05  # two loud parts closer than this are one event
SHORTEST_EVENT = 0.08
RING_OUT = 0.06  # kept after an event falls below the threshold: calls cut off dry do not sound natural
SHORTEST_PIECE = 0.4  # an event is not halved below this


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording, in samples."""

    start: int
    stop: int

    def halves(self) -> tuple["Segment", "Segment"]:
        """Its two halves."""
        middle = (self.start + self.stop) // 2
        return Segment(self.start, middle), Segment(middle, self.stop)


def read(path: Path) -> Waveform:
    """A recording as mono float32 at 32 kHz (the mean of its channels)."""
    import soundfile
    import soxr

    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path}: not a readable recording ({error}); fetch the asset again") from None
    return peak(soxr.resample(audio.mean(axis=1), rate, SAMPLE_RATE))


def events(audio: Waveform, below_peak: float) -> list[Segment]:
    """The stretches of `audio` whose level stays within `below_peak` decibels of the loudest frame's.

    A little of what follows is kept with each; no two overlap.
    """
    frame = samples(FRAME_SECONDS)
    power = np.square(audio[: len(audio) // frame * frame].reshape(-1, frame)).mean(axis=1)
    level = np.convolve(np.sqrt(power), np.ones(3) / 3, "same")
    loud = np.concatenate([[0], level > level.max() * 10 ** (-below_peak / 20), [0]]).astype(int)
    starts, stops = np.flatnonzero(np.diff(loud) == 1), np.flatnonzero(np.diff(loud) == -1)
    joined: list[Segment] = []
    for start, stop in zip(starts * frame, stops * frame, strict=True):
        if joined and start - joined[-1].stop < samples(LONGEST_GAP):
            joined[-1] = Segment(joined[-1].start, int(stop))
        else:
            joined.append(Segment(int(start), int(stop)))
    long_enough = [event for event in joined if event.stop - event.start >= samples(SHORTEST_EVENT)]
    limits = [event.start for event in long_enough[1:]] + [len(audio)]
    return [
        Segment(event.start, min(event.stop + samples(RING_OUT), limit))
        for event, limit in zip(long_enough, limits, strict=True)
    ]


def deal(segments: Sequence[Segment], splits: Sequence[str]) -> dict[str, list[Segment]]:
    """The segments of each split, none of them shared.

    Where there are fewer segments than splits, the longest is halved until every split has one; a recording too
    short for that gives an empty dict.
    """
    pool = sorted(segments, key=lambda segment: segment.start)
    while len(pool) < len(splits):
        longest = max(pool, key=lambda segment: segment.stop - segment.start)
        if longest.stop - longest.start < 2 * samples(SHORTEST_PIECE):
            return {}
        pool.remove(longest)
        pool += longest.halves()
        pool.sort(key=lambda segment: segment.start)
    return {split: pool[index :: len(splits)] for index, split in enumerate(splits)}


def ranges(audio: Waveform, splits: Sequence[str]) -> dict[str, list[Segment]]:
    """The recording's time cut into one stretch a split, all equally long."""
    edges = np.linspace(0, len(audio), len(splits) + 1).astype(int)
    return {split: [Segment(int(a), int(b))] for split, (a, b) in zip(splits, pairwise(edges), strict=True)}


def resampled(audio: Waveform, factor: float) -> Waveform:
    """`audio` played `factor` times as fast, and so as much higher."""
    positions = np.arange(0, len(audio) - 1, factor, dtype=np.float32)
    return np.interp(positions, np.arange(len(audio), dtype=np.float32), audio).astype(np.float32)


def stretch(audio: Waveform, segments: Sequence[Segment], seconds: float, rng: np.random.Generator) -> Waveform:
    """`seconds` from a random place of one of the segments, or the whole of it where it is shorter."""
    chosen = segments[int(rng.integers(len(segments)))]
    wanted = min(samples(seconds), chosen.stop - chosen.start)
    start = chosen.start + int(rng.random() * (chosen.stop - chosen.start - wanted))
    return ramps(audio[start : start + wanted], 0.01, 0.01)
