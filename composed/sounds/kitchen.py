"""Sounds of a kitchen by synthesis: frying and dishes."""

import numpy as np
from scipy import fft

from composed.sounds.synthesis import (
    Body,
    band,
    log_uniform,
    log_uniforms,
    noise,
    noise_frequencies,
    room,
    tilt,
    wander,
)
from composed.sounds.waveforms import add, peak, ramps, samples, times
from composed.types import Waveform


def frying(rng: np.random.Generator, seconds: float) -> Waveform:
    """Dense crackling (random bursts through broad resonances) over a seething hiss."""
    count = samples(seconds)
    frequencies = noise_frequencies(count)
    gain = band(frequencies, log_uniform(rng, 500, 2050), log_uniform(rng, 6200, 13000), 1)
    hiss = noise(rng, count, gain * tilt(frequencies, rng.uniform(-3.4, 0.5), 2000))
    hiss *= 1 + rng.uniform(0.08, 0.34) * wander(rng, count, log_uniform(rng, 3.7, 27))
    rate, unevenness, quality = log_uniform(rng, 120, 1500), rng.uniform(0.32, 1.16), log_uniform(rng, 0.93, 1.8)
    centre, spread = log_uniform(rng, 2100, 6200), log_uniform(rng, 1.55, 2.95)
    spectrum = np.zeros(len(frequencies), np.complex64)
    for resonance in centre * spread ** rng.uniform(-1, 1, 4):
        bursts = np.zeros(count, np.float32)
        many = rng.poisson(rate * seconds / 4) + 1
        bursts[rng.integers(0, count, many)] = np.exp(rng.normal(0, unevenness, many)) * rng.choice([-1, 1], many)
        detuning = frequencies / resonance - resonance / np.maximum(frequencies, 1)
        spectrum += fft.rfft(bursts, fft.next_fast_len(count, real=True)) / (1 + 1j * quality * detuning)
    crackle = fft.irfft(spectrum, fft.next_fast_len(count, real=True))[:count]
    sound = hiss + log_uniform(rng, 0.8, 1.8) * crackle / crackle.std()
    return ramps(room(rng, sound, (0.14, 0.58), (0.34, 0.87)), log_uniform(rng, 0.02, 0.15), 0.1)


def dishes(rng: np.random.Generator, seconds: float) -> Waveform:
    """Crockery and cutlery knocking: three struck bodies, each a set of modes, hit several times with a click."""
    gaps = log_uniforms(rng, 0.06, 0.5, 40)
    onsets = np.concatenate([[0], np.cumsum(gaps)])
    onsets = onsets[: max(2, np.count_nonzero(onsets <= seconds - 0.3))]
    sound = np.zeros(samples(onsets[-1] + 0.3), np.float32)
    base, spread, top = log_uniform(rng, 1460, 3390), log_uniform(rng, 1.9, 2.7), log_uniform(rng, 3.3, 9)
    decay, damping, slope = log_uniform(rng, 0.014, 0.048), rng.uniform(0.23, 0.73), rng.uniform(-0.12, 0.33)
    unevenness, click, click_decay = (
        rng.uniform(0.56, 1.1),
        log_uniform(rng, 0.09, 0.32),
        log_uniform(rng, 0.001, 0.012),
    )
    bodies = []
    for _ in range(3):
        ratios = np.concatenate([[1], log_uniforms(rng, 1, top, int(rng.integers(10, 34)))])
        decays = decay * ratios**-damping * np.exp(rng.normal(0, 0.3, len(ratios)))
        body = Body(samples(0.3), decays)
        bodies.append((body, body.waves(base * spread ** rng.uniform(-1, 1) * ratios), ratios**slope))
    for onset in np.repeat(onsets, rng.integers(1, 3, len(onsets))):  # two pieces often touch at once
        body, waves, amplitudes = bodies[rng.integers(3)]
        knock = peak(body.strike(waves, amplitudes * np.exp(rng.normal(0, unevenness, len(amplitudes)))))
        length = min(samples(6 * click_decay), len(knock))
        knock[:length] += click * rng.standard_normal(length) * np.exp(-times(length) / click_decay)
        add(sound, samples(onset), rng.uniform(0.2, 1) * knock)
    return ramps(room(rng, sound, (0.12, 0.38), (0.025, 0.34)), 0, 0.1)
