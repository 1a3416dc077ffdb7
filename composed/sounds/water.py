"""Water by synthesis: a running tap, and rain.

Drops and bubbles follow K. van den Doel, "Physically based models for liquid sounds", ACM TAP 2(4), 2005.
"""

import numpy as np

from composed.sounds.synthesis import (
    band,
    log_uniform,
    log_uniforms,
    noise,
    noise_frequencies,
    room,
    shape,
    tilt,
    wander,
)
from composed.sounds.waveforms import add, ramps, samples, times
from composed.types import Waveform


def running_water(rng: np.random.Generator, seconds: float) -> Waveform:
    """A tap: turbulent noise of the jet, and bubbles in the basin, each a short sine that rises as it decays."""
    count = samples(seconds)
    frequencies = noise_frequencies(count)
    gain = band(frequencies, log_uniform(rng, 290, 810), log_uniform(rng, 6200, 12300), 1)
    jet = noise(rng, count, gain * tilt(frequencies, rng.uniform(-2.5, -0.6), 800))
    jet *= 1 + rng.uniform(0.07, 0.21) * wander(rng, count, 10)
    many = int(log_uniform(rng, 125, 320) * seconds)
    lowest = log_uniform(rng, 980, 1500)
    pitches = log_uniforms(rng, lowest, lowest * log_uniform(rng, 4, 7.7), many)
    levels = np.exp(rng.normal(0, rng.uniform(0.6, 1.1), many))
    cycles, rise = log_uniform(rng, 3.9, 5.8), log_uniform(rng, 0.6, 9)
    basin = np.zeros(count, np.float32)
    for pitch, level, position in zip(pitches, levels, rng.integers(0, count, many), strict=True):
        decay = float(cycles / pitch)
        t = times(samples(5 * decay))
        bubble = np.sin(np.float32(2 * np.pi * pitch) * t * (1 + np.float32(rise) * t)) * np.exp(-t / decay)
        add(basin, position, np.float32(level) * bubble)
    sound = log_uniform(rng, 0.4, 1.3) * jet + basin / basin.std()
    return ramps(room(rng, sound, (0.19, 0.3), (0.55, 1.3)), log_uniform(rng, 0.02, 0.1), 0.1)


def rain(rng: np.random.Generator, seconds: float) -> Waveform:
    """Rain on the ground: the hiss of countless drops, and single near ones."""
    count = samples(seconds)
    frequencies = noise_frequencies(count)
    gain = band(frequencies, log_uniform(rng, 1000, 3000), log_uniform(rng, 9000, 13000), 2)
    hiss = noise(rng, count, gain * tilt(frequencies, rng.uniform(-4, -1), 2000))
    drops = np.zeros(count, np.float32)
    many = int(log_uniform(rng, 150, 500) * seconds)
    drops[rng.integers(0, count, many)] = np.exp(rng.normal(0, 0.8, many)) * rng.choice([-1, 1], many)
    near = shape(drops, band(frequencies, log_uniform(rng, 1000, 2500), log_uniform(rng, 6000, 10000), 1))
    return ramps(hiss * (1 + 0.1 * wander(rng, count, 3)) + rng.uniform(0.5, 1.2) * near / near.std(), 0.2, 0.3)
