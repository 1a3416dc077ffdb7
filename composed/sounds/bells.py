"""A church bell and a gong by synthesis, each struck once and ringing out."""

import numpy as np

from composed.sounds.synthesis import Body, log_uniform, log_uniforms, room
from composed.sounds.waveforms import add, ramps, samples, times
from composed.types import Waveform

# Hum, prime, tierce, quint, nominal and higher partials of a church bell, relative to the prime.
PARTIALS = np.array([0.5, 1, 1.2, 1.5, 2, 2.5, 2.67, 3, 4, 5.33, 6.67, 8.1])


def church_bell(rng: np.random.Generator, seconds: float) -> Waveform:
    """One stroke; each partial is a pair of modes that beat, because no bell is quite round."""
    count = samples(seconds)
    ratios = PARTIALS * np.exp(rng.normal(0, log_uniform(rng, 0.0045, 0.026), len(PARTIALS)))
    frequencies = log_uniform(rng, 464, 722) * ratios
    decays = log_uniform(rng, 1.26, 2.25) * ratios ** -rng.uniform(0.55, 0.76)
    amplitudes = ratios ** rng.uniform(-0.57, 0.05) * np.exp(rng.normal(0, rng.uniform(0.63, 1), len(ratios)))
    beats = log_uniform(rng, 1.2, 3.1) * rng.uniform(0.3, 1, len(ratios))
    body = Body(count, decays)
    sound = body.strike(body.waves(frequencies), amplitudes)
    sound += body.strike(body.waves(frequencies + beats), amplitudes * log_uniform(rng, 0.56, 1))
    hammer(rng, sound, log_uniform(rng, 0.044, 0.14), 0.002)
    return ramps(room(rng, sound, (0.2, 0.41), (0.03, 0.16)), 0, seconds / 4)


def gong(rng: np.random.Generator, seconds: float) -> Waveform:
    """One stroke; dozens of inharmonic modes, of which the high ones build up after the low ones."""
    count = samples(seconds)
    t = times(count)
    ratios = np.concatenate(
        [[1], np.sort(log_uniforms(rng, 1.2, log_uniform(rng, 7.9, 11.7), int(rng.integers(45, 62))))]
    )
    frequencies = log_uniform(rng, 103, 191) * ratios
    decays = log_uniform(rng, 1.75, 2.85) * ratios ** -rng.uniform(0.16, 0.42)
    amplitudes = ratios ** rng.uniform(-1.02, -0.52) * np.exp(rng.normal(0, rng.uniform(0.35, 0.69), len(ratios)))
    build_up = log_uniform(rng, 0.012, 0.041) * np.minimum(1, 0.3 * (ratios - 0.9)) + 0.001
    sound = np.zeros(count, np.float32)
    for frequency, decay, amplitude, rise in zip(frequencies, decays, amplitudes, build_up, strict=True):
        mode = np.sin(2 * np.pi * frequency * t + rng.uniform(0, 2 * np.pi))
        sound += (amplitude * mode * np.exp(-t / decay) * (1 - np.exp(-t / rise))).astype(np.float32)
    hammer(rng, sound, log_uniform(rng, 0.017, 0.25), 0.004)
    return ramps(room(rng, sound, (0.13, 0.36), (0.05, 0.19)), 0, seconds / 4)


def hammer(rng: np.random.Generator, sound: Waveform, level: float, decay: float) -> None:
    """Adds the noise of the stroke, `level` times the sound's peak."""
    length = samples(7 * decay)
    noise = rng.standard_normal(length, dtype=np.float32) * np.exp(-times(length) / np.float32(decay))
    add(sound, 0, np.float32(level * np.abs(sound).max()) * noise)
