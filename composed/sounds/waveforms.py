"""What is done to any sound: counting its samples, fading, adding, scaling and trimming it."""

from functools import cache

import numpy as np

from composed.types import Waveform

SAMPLE_RATE = 32_000


def samples(seconds: float) -> int:
    """The number of samples in `seconds`."""
    return round(seconds * SAMPLE_RATE)


def times(count: int) -> Waveform:
    """Seconds at each of `count` samples, to be read only."""
    return _clock(1 << count.bit_length())[:count]


@cache
def _clock(count: int) -> Waveform:
    seconds = np.arange(count, dtype=np.float32) / np.float32(SAMPLE_RATE)
    seconds.flags.writeable = False
    return seconds


def ramps(signal: Waveform, attack: float, release: float) -> Waveform:
    """`signal` faded in over `attack` seconds and out over `release` seconds (at most half of it each)."""
    faded = signal.copy()
    for seconds, part in ((attack, slice(None)), (release, slice(None, None, -1))):
        length = min(samples(seconds), len(signal) // 2)
        faded[part][:length] *= np.sin(np.linspace(0, np.pi / 2, length, dtype=np.float32)) ** 2
    return faded


def add(target: Waveform, position: int, event: Waveform) -> None:
    """Adds `event` to `target` from `position` on; what reaches past the end is cut."""
    room = max(0, len(target) - position)
    target[position : position + len(event)] += event[:room]


def peak(signal: Waveform) -> Waveform:
    """`signal` scaled to a peak of 1."""
    return (signal / (np.abs(signal).max() + 1e-9)).astype(np.float32)


def trimmed(signal: Waveform) -> Waveform:
    """`signal` from its first to its last sample above 1 % of its peak: from its audible onset to its offset."""
    loud = np.flatnonzero(np.abs(signal) > 0.01 * np.abs(signal).max())
    return signal[loud[0] : loud[-1] + 1]
