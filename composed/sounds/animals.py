"""Animals: meows by synthesis, and series of recorded calls.

The only cat recording at hand holds two meows, which cannot be shared between splits, so every meow is synthesised:
a voice with a glottal source whose pitch, two gliding formants (/m-i-a-o-u/), breath and loudness follow the shape
of a cat's, all drawn anew for each meow.
"""

from collections.abc import Sequence

import numpy as np

from composed.sounds.recordings import Segment, resampled
from composed.sounds.synthesis import band, log_uniform, noise, noise_frequencies, phase_of, room, wander
from composed.sounds.waveforms import peak, ramps, samples
from composed.types import Waveform

# Where, from 0 to 1, the curves of a meow have their knots, and the bounds between which their values are drawn.
KNOTS = (0, 0.15, 0.4, 0.7, 1)
PITCH = ((0.68, 0.78), (0.93, 0.99), (1, 1), (0.94, 1.05), (0.7, 0.82))
FIRST_FORMANT = ((0.3, 0.4), (0.66, 0.82), (1, 1), (0.5, 0.63), (0.6, 0.77))
SECOND_FORMANT = ((0.6, 0.75), (0.66, 0.77), (1, 1), (0.96, 1.13), (0.5, 0.62))
LOUDNESS_KNOTS = (0, 0.1, 0.25, 0.5, 0.75, 1)
LOUDNESS = ((0.01, 0.01), (0.12, 0.34), (0.5, 0.67), (0.83, 0.95), (0.4, 0.56), (0.005, 0.005))


def curve(
    rng: np.random.Generator, count: int, knots: Sequence[float], bounds: Sequence[tuple[float, float]]
) -> Waveform:
    """A curve of `count` samples through values drawn between `bounds` at `knots`."""
    values = [rng.uniform(low, high) for low, high in bounds]
    return np.interp(np.linspace(0, 1, count), knots, values).astype(np.float32)


def meow(rng: np.random.Generator) -> Waveform:
    """One meow of 0.7 to 1.1 s."""
    count = samples(log_uniform(rng, 0.7, 1.1))
    jitter = 1 + log_uniform(rng, 0.007, 0.011) * wander(rng, count, log_uniform(rng, 16, 23))
    pitch = log_uniform(rng, 820, 1000) * curve(rng, count, KNOTS, PITCH) * jitter
    phase = 2 * np.pi * phase_of(pitch)
    open_mouth = log_uniform(rng, 1380, 1650)
    first = open_mouth * curve(rng, count, KNOTS, FIRST_FORMANT)
    second = open_mouth * log_uniform(rng, 2.2, 2.6) * curve(rng, count, KNOTS, SECOND_FORMANT)
    widths = log_uniform(rng, 148, 219), log_uniform(rng, 314, 447), 1200
    levels = 1, log_uniform(rng, 1.38, 2), log_uniform(rng, 0.028, 0.058)
    formants = (first, second, log_uniform(rng, 6270, 8170))
    floor, slope = log_uniform(rng, 0.004, 0.013), rng.uniform(-0.5, -0.23)
    voice = np.zeros(count, np.float32)
    for order in range(1, 17):
        frequency = order * pitch
        gain = floor + sum(
            level / np.sqrt(1 + ((frequency - formant) / width) ** 2)
            for level, formant, width in zip(levels, formants, widths, strict=True)
        )
        gain *= order**-slope * np.exp(rng.normal(0, 0.3)) * (frequency < 15_000)
        voice += (gain * np.sin(order * phase)).astype(np.float32)
    roughness = 1 + rng.uniform(0.16, 0.23) * wander(rng, count, 70)
    breath = noise(rng, count, band(noise_frequencies(count), log_uniform(rng, 540, 750), 9000, 1))
    sound = voice / voice.std() * roughness + log_uniform(rng, 0.06, 0.12) * breath
    sound *= curve(rng, count, LOUDNESS_KNOTS, LOUDNESS)
    tail = np.zeros(samples(0.08), np.float32)
    return ramps(room(rng, np.concatenate([sound, tail]), (0.23, 0.31), (0.17, 0.34)), 0, 0.05)


def meows(rng: np.random.Generator, seconds: float) -> Waveform:
    """One meow, or several with pauses where `seconds` leaves room for them."""
    parts = [peak(meow(rng))]
    while sum(map(len, parts)) + samples(1.1) < samples(seconds):
        parts += [np.zeros(samples(log_uniform(rng, 0.1, 0.4)), np.float32), rng.uniform(0.6, 1) * peak(meow(rng))]
    return np.concatenate(parts)


def calls(audio: Waveform, segments: Sequence[Segment], rng: np.random.Generator, seconds: float) -> Waveform:
    """Calls cut from a recording, one after the other until `seconds` are about full; at least one.

    Each is played somewhat faster or slower, all with about the same factor: it is one animal that calls, in a room.
    """
    size = log_uniform(rng, 0.87, 1.15)
    parts: list[Waveform] = []
    while not parts or sum(map(len, parts)) + len(parts[0]) < samples(seconds):
        segment = segments[int(rng.integers(len(segments)))]
        call = resampled(audio[segment.start : segment.stop], size * log_uniform(rng, 0.97, 1.03))
        if parts:
            parts.append(np.zeros(samples(log_uniform(rng, 0.1, 0.4)), np.float32))
        parts.append(np.float32(rng.uniform(0.6, 1)) * peak(ramps(call, 0.003, 0.02)))
    return room(rng, np.concatenate(parts), (0.2, 0.5), (0.1, 0.5))
