"""Amplitude envelopes: curves of loudness over time, which only their order in time tells apart."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from composed.types import Rng, Waveform

Envelope = Literal["briefly", "pulsing", "repeatedly", "rising", "falling"]

BRIEF = (0.35, 0.7)  # seconds of a single burst
LONG = (2.2, 3.2)  # seconds of the other envelopes
PULSES = (3.5, 6.0)  # on and off per second
REPEATS = (0.9, 1.4)
DECIBELS = (15.0, 25.0)  # between the softest and the loudest end of what rises or falls
EDGE = 0.02  # seconds in which a burst begins or ends


def bursts(rng: Rng, time: Waveform, per_second: tuple[float, float]) -> Waveform:
    """On and off at an even rate; on first."""
    period = 1 / rng.uniform(*per_second)
    on = period * rng.uniform(0.4, 0.6)
    phase = time % np.float32(period)
    return np.clip(np.minimum(phase, on - phase) / EDGE, 0, 1)


def slope(rng: Rng, time: Waveform, first: float) -> Waveform:
    """An even change in decibels to full loudness at the end (`first` -1), or from it (0)."""
    return 10 ** (rng.uniform(*DECIBELS) * (first + (time / time[-1] if first else -time / time[-1])) / 20)


CURVES: dict[Envelope, Callable[[Rng, Waveform], Waveform]] = {
    "briefly": lambda _rng, time: np.ones_like(time),
    "pulsing": lambda rng, time: bursts(rng, time, PULSES),
    "repeatedly": lambda rng, time: bursts(rng, time, REPEATS),
    "rising": lambda rng, time: slope(rng, time, -1),
    "falling": lambda rng, time: slope(rng, time, 0),
}


def seconds(envelope: Envelope, rng: Rng) -> float:
    """How long a sound with an envelope lasts."""
    return float(rng.uniform(*(BRIEF if envelope == "briefly" else LONG)))


def shaped(envelope: Envelope, sound: Waveform, sample_rate: int, rng: Rng) -> Waveform:
    """An even sound, (samples,), with an envelope."""
    time = np.arange(len(sound), dtype=np.float32) / np.float32(sample_rate)
    edges = np.clip(np.minimum(time, time[-1] - time) / EDGE, 0, 1)
    return (sound * CURVES[envelope](rng, time) * edges).astype(np.float32)
