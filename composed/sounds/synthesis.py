"""Building blocks of synthesised sounds: shaped noise, wavetables, resonances, slow random modulation, impacts.

Everything is drawn from a continuous distribution of the generator given, so that two streams never draw the
same sound, and everything is vectorised: a sound of three seconds takes some milliseconds.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from composed.sounds.waveforms import SAMPLE_RATE, samples, times
from composed.types import Waveform


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A draw that is uniform in its logarithm, as pitches and rates are heard."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def log_uniforms(rng: np.random.Generator, low: float, high: float, count: int) -> NDArray[np.float64]:
    """`count` draws that are uniform in their logarithm."""
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def bump(frequencies: NDArray[np.floating], centre: float, octaves: float) -> NDArray[np.floating]:
    """A bell-shaped gain of height 1 around `centre` Hz with a standard deviation of `octaves`."""
    return np.exp(-0.5 * (np.log2(np.maximum(frequencies, 1) / centre) / octaves) ** 2)


def band(frequencies: NDArray[np.floating], low: float, high: float, order: int = 4) -> NDArray[np.floating]:
    """A smooth band-pass gain of height about 1 between `low` and `high` Hz."""
    safe = np.maximum(frequencies, 1)
    return 1 / np.sqrt((1 + (low / safe) ** (2 * order)) * (1 + (safe / high) ** (2 * order)))


def tilt(frequencies: NDArray[np.floating], decibels_per_octave: float, corner: float = 100.0) -> NDArray[np.floating]:
    """A spectral slope above `corner` Hz, flat below: -3 dB per octave is pink, -6 brown."""
    return (np.maximum(frequencies, corner) / corner) ** (decibels_per_octave / 6.02)


@lru_cache(maxsize=8)
def noise_frequencies(count: int) -> NDArray[np.float32]:
    """The frequencies in Hz at which the gain for `noise(rng, count, gain)` and `shape` is given, to be read only."""
    length = fft.next_fast_len(count, real=True)
    frequencies = fft.rfftfreq(length, 1 / SAMPLE_RATE).astype(np.float32)
    frequencies.flags.writeable = False
    return frequencies


def noise(rng: np.random.Generator, count: int, gain: NDArray[np.floating]) -> Waveform:
    """Gaussian noise of unit standard deviation whose spectrum follows `gain` (at `noise_frequencies(count)`)."""
    length = fft.next_fast_len(count, real=True)
    spectrum = rng.standard_normal((2, len(gain)), dtype=np.float32)
    signal = fft.irfft((spectrum[0] + 1j * spectrum[1]) * gain.astype(np.float32), length)[:count]
    return signal / (signal.std() + 1e-9)


def shape(signal: Waveform, gain: NDArray[np.floating]) -> Waveform:
    """`signal` with its spectrum multiplied by `gain` (at `noise_frequencies(len(signal))`)."""
    length = fft.next_fast_len(len(signal), real=True)
    return fft.irfft(fft.rfft(signal, length) * gain.astype(np.float32), length)[: len(signal)]


def wander(rng: np.random.Generator, count: int, per_second: float) -> Waveform:
    """A smooth random curve of zero mean and about unit deviation with `per_second` new values a second."""
    knots = max(4, int(count / SAMPLE_RATE * per_second) + 3)
    values = rng.standard_normal(knots)
    # The cosine between the knots is worked out at a few points only, and straight lines drawn between those.
    position = np.linspace(0, knots - 1.001, 12 * knots)
    left = position.astype(np.int32)
    blend = (1 - np.cos(np.pi * (position - left))) / 2
    curve = values[left] * (1 - blend) + values[left + 1] * blend
    return np.interp(np.linspace(0, len(curve) - 1, count), np.arange(len(curve)), curve).astype(np.float32)


def phase_of(frequency: NDArray[np.floating]) -> NDArray[np.float64]:
    """Phase in cycles of an oscillation whose frequency in Hz is given at every sample."""
    return np.cumsum(frequency, dtype=np.float64) / SAMPLE_RATE


def harmonics(phase: NDArray[np.floating], amplitudes: NDArray[np.floating], rng: np.random.Generator) -> Waveform:
    """A periodic signal: one period with the given harmonic amplitudes and random phases, read along `phase`."""
    size = 4096
    spectrum = np.zeros(size // 2 + 1, dtype=np.complex64)
    spectrum[1 : len(amplitudes) + 1] = amplitudes * np.exp(2j * np.pi * rng.random(len(amplitudes)))
    period = fft.irfft(spectrum).astype(np.float32)
    period /= period.std() + 1e-9
    return period[(phase * size).astype(np.int64) % size]


class Body:
    """A body that can be struck: sines that fall by 1/e in `decays` seconds."""

    def __init__(self, count: int, decays: NDArray) -> None:
        self.count = count
        clocks = [times(min(count, samples(7 * decay) + 1)) for decay in decays]
        self.falls = [(t, np.exp(-t / decay)) for t, decay in zip(clocks, decays, strict=True)]

    def waves(self, frequencies: NDArray) -> list[Waveform]:
        """The sines of `frequencies` Hz, one for each decay; those that cannot be sampled are empty."""
        return [
            np.sin(2 * np.pi * frequency * t) if frequency < SAMPLE_RATE / 2 else t[:0]
            for frequency, (t, _) in zip(frequencies, self.falls, strict=True)
        ]

    def strike(self, waves: Sequence[Waveform], amplitudes: NDArray) -> Waveform:
        """Its sound, (count,)."""
        sound = np.zeros(self.count, dtype=np.float32)
        for wave, (_, fall), amplitude in zip(waves, self.falls, amplitudes, strict=True):
            sound[: len(wave)] += amplitude * wave * fall[: len(wave)]
        return sound


def modes(count: int, frequencies: NDArray, decays: NDArray, amplitudes: NDArray) -> Waveform:
    """A body that is struck once: sines of `frequencies` Hz that fall by 1/e in `decays` seconds."""
    body = Body(count, decays)
    return body.strike(body.waves(frequencies), amplitudes)


def room(
    rng: np.random.Generator, signal: NDArray[np.floating], seconds: tuple[float, float], wet: tuple[float, float]
) -> Waveform:
    """`signal` as heard in a room, as long as before: exponentially decaying noise as the impulse response.

    `seconds` is the range of the reverberation time (to -60 dB), `wet` that of the reverberation's level.
    """
    count = samples(0.4)
    decay = np.exp(-6.9 * times(count) / np.float32(log_uniform(rng, *seconds)))
    response = rng.standard_normal(count, dtype=np.float32) * decay
    response[: samples(0.003)] = 0  # the first reflection comes after a metre
    response *= np.float32(log_uniform(rng, *wet)) / np.sqrt(np.square(response).sum())
    response[0] = 1
    length = fft.next_fast_len(len(signal) + count, real=True)
    return fft.irfft(fft.rfft(signal, length) * fft.rfft(response, length), length)[: len(signal)]
