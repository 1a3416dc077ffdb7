"""Alarms by synthesis: a mechanical alarm bell, an electronic beeper, a siren."""

import numpy as np

from composed.sounds.synthesis import harmonics, log_uniform, modes, phase_of, room
from composed.sounds.waveforms import add, ramps, samples, times
from composed.types import Waveform

# A hand bell's partials relative to its strike note, about; every draw detunes them.
PARTIALS = np.array([1, 1.5, 2, 2.44, 2.9, 3.6, 4.1, 5.2])


def mechanical_bell(rng: np.random.Generator, seconds: float) -> Waveform:
    """An alarm clock's or school bell: a hammer striking a bell a dozen or two times a second."""
    count = samples(seconds)
    ratios = PARTIALS * np.exp(rng.normal(0, 0.03, len(PARTIALS)))
    decays = log_uniform(rng, 0.25, 0.6) * ratios**-0.8
    amplitudes = rng.exponential(1, len(ratios)) * ratios**-0.4
    strike = modes(samples(0.6), log_uniform(rng, 900, 2400) * ratios, decays, amplitudes)
    rate = log_uniform(rng, 12, 26)
    onsets = np.cumsum(rng.normal(1, 0.03, int(rate * seconds) + 2) / rate)
    sound = np.zeros(count, np.float32)
    for onset in onsets[onsets < seconds] - onsets[0]:
        add(sound, samples(onset), np.float32(rng.uniform(0.6, 1.2)) * strike)
    return ramps(room(rng, sound, (0.15, 0.5), (0.05, 0.4)), 0, 0.05)


def beeper(rng: np.random.Generator, seconds: float) -> Waveform:
    """A digital alarm clock or smoke detector: a shrill tone with odd harmonics, on and off."""
    count = samples(seconds)
    overtones = np.array([1, 0, rng.uniform(0.2, 0.6), 0, rng.uniform(0.05, 0.3)])
    tone = harmonics(phase_of(np.full(count, log_uniform(rng, 1800, 3600))), overtones, rng)
    on = log_uniform(rng, 0.06, 0.5)
    off = on * rng.uniform(0.6, 1.2)
    # The last beep ends the event: a silent rest is not part of it.
    ends_in = seconds % (on + off)
    count = samples(seconds - max(0.0, ends_in - on))
    t = times(count) % np.float32(on + off)
    edge = 0.003
    gate = np.clip(np.minimum(t, on - t) / edge, 0, 1)
    return ramps(room(rng, tone[:count] * gate, (0.15, 0.4), (0.02, 0.15)), 0.002, 0.005)


def siren(rng: np.random.Generator, seconds: float) -> Waveform:
    """A tone that wails up and down."""
    count = samples(seconds)
    low = log_uniform(rng, 500, 900)
    high = low * rng.uniform(1.5, 2.4)
    sweep = (1 - np.cos(2 * np.pi * (log_uniform(rng, 0.3, 4) * times(count) + rng.random()))) / 2
    tone = harmonics(phase_of(low + (high - low) * sweep), np.arange(1, 9.0) ** -rng.uniform(0.6, 1.5), rng)
    return ramps(room(rng, tone, (0.2, 0.6), (0.1, 0.5)), 0.03, 0.1)


def alarm(rng: np.random.Generator, seconds: float) -> Waveform:
    """One of the three."""
    return (mechanical_bell, beeper, siren)[rng.integers(3)](rng, seconds)
