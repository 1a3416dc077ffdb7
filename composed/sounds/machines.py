"""Household machines by synthesis: vacuum cleaner, electric shaver or toothbrush, blender.

Each is a motor (harmonics of its rotation), moving air or blades (shaped noise), slow changes of load and a room.
"""

import numpy as np

from composed.sounds.synthesis import (
    band,
    bump,
    harmonics,
    log_uniform,
    noise,
    noise_frequencies,
    phase_of,
    room,
    tilt,
    wander,
)
from composed.sounds.waveforms import ramps, samples
from composed.types import Waveform


def vacuum_cleaner(rng: np.random.Generator, seconds: float) -> Waveform:
    """Turbulent air through the resonances of a tube, and a universal motor's whine."""
    count = samples(seconds)
    frequencies = noise_frequencies(count)
    gain = band(frequencies, log_uniform(rng, 140, 570), log_uniform(rng, 3000, 15000), 1)
    gain *= tilt(frequencies, rng.uniform(-4.4, -0.9), 300)
    tube = rng.uniform(1.2, 3.6) * bump(frequencies, log_uniform(rng, 240, 600), rng.uniform(0.19, 0.38))
    nozzle = rng.uniform(1.3, 2.6) * bump(frequencies, log_uniform(rng, 1000, 4500), rng.uniform(0.15, 0.38))
    air = noise(rng, count, gain * (1 + tube + nozzle))
    air *= 1 + rng.uniform(0.09, 0.3) * wander(rng, count, log_uniform(rng, 1, 5))  # the nozzle moves over the floor
    rotation = log_uniform(rng, 325, 545) * (1 + rng.uniform(0.002, 0.009) * wander(rng, count, 4))
    whine = harmonics(phase_of(rotation), uneven(rng, 29, (0.5, 1.4), (0.7, 1.4)), rng)
    sound = room(rng, air + log_uniform(rng, 0.33, 1.1) * whine, (0.15, 0.39), (0.3, 1.5))
    return ramps(sound, log_uniform(rng, 0.05, 0.25), log_uniform(rng, 0.05, 0.2))


def shaver_or_toothbrush(rng: np.random.Generator, seconds: float) -> Waveform:
    """The buzz of an oscillating armature with strong high harmonics, and its hiss on skin or teeth."""
    count = samples(seconds)
    rate = log_uniform(rng, 107, 184)
    phase = phase_of(rate * (1 + rng.uniform(0.005, 0.025) * wander(rng, count, 5)))
    orders = np.arange(1, int(14000 / rate))
    body = bump(orders * rate, log_uniform(rng, 2000, 5000), rng.uniform(0.93, 1.3))
    body += rng.uniform(0.13, 0.83) * bump(orders * rate, 2 * rate, 0.7) + rng.uniform(0.12, 0.35)
    buzz = harmonics(phase, body * uneven(rng, len(orders), (0.11, 0.49), (0.2, 0.74)), rng)
    buzz *= 1 + rng.uniform(0.09, 0.32) * wander(rng, count, log_uniform(rng, 2.5, 10))  # pressed more and less
    hiss = noise(rng, count, bump(noise_frequencies(count), log_uniform(rng, 5600, 9000), rng.uniform(0.45, 1.2)))
    hiss *= 1 + rng.uniform(0.06, 0.73) * np.cos(2 * np.pi * phase).astype(np.float32)
    sound = room(rng, buzz + log_uniform(rng, 0.2, 1) * hiss, (0.17, 0.46), (0.12, 0.54))
    return ramps(sound, 0.01, 0.03)


def blender(rng: np.random.Generator, seconds: float) -> Waveform:
    """A fast motor that labours under a changing load, and blades that chop irregularly."""
    count = samples(seconds)
    frequencies = noise_frequencies(count)
    load = wander(rng, count, log_uniform(rng, 3, 12))
    rotation = log_uniform(rng, 184, 314) * (1 - rng.uniform(0.013, 0.085) * load)
    motor = harmonics(phase_of(rotation), uneven(rng, 59, (0.5, 1.2), (0.4, 1.3)), rng)
    motor *= 1 + rng.uniform(0.08, 0.5) * load
    gain = bump(frequencies, log_uniform(rng, 560, 1440), rng.uniform(0.9, 1.4))
    gain += rng.uniform(0.1, 0.6) * bump(frequencies, log_uniform(rng, 2560, 5930), rng.uniform(0.6, 1))
    chopping = 1 + rng.uniform(0.16, 0.85) * wander(rng, count, log_uniform(rng, 27, 200))
    blades = noise(rng, count, gain) * chopping
    sound = room(rng, motor + log_uniform(rng, 0.73, 1.7) * blades, (0.23, 0.59), (0.3, 1.5))
    return ramps(sound, log_uniform(rng, 0.03, 0.1), log_uniform(rng, 0.05, 0.15))


def uneven(rng: np.random.Generator, count: int, slope: tuple[float, float], spread: tuple[float, float]) -> np.ndarray:
    """Amplitudes of `count` harmonics that fall as order ** -slope, each off by a random factor."""
    fall = np.arange(1, count + 1.0) ** -rng.uniform(*slope)
    return fall * np.exp(rng.normal(0, rng.uniform(*spread), count))
