"""Waveforms that were padded with zeros to a clip's length: where their sound ends, and what else may follow it."""

import numpy as np


def lengths(waveforms: np.ndarray) -> np.ndarray:
    """Samples up to the last one that is not 0, of each row of (clips, samples): (clips,)."""
    sounding = waveforms != 0
    after = sounding[:, ::-1].argmax(axis=1)
    return np.where(sounding.any(axis=1), waveforms.shape[1] - after, 0)


def repeated(waveforms: np.ndarray) -> np.ndarray:
    """The same clips, where a sound that ends early starts again until its clip is full: (clips, samples)."""
    samples = waveforms.shape[1]
    places = np.arange(samples) % np.maximum(lengths(waveforms), 1)[:, None]
    return np.take_along_axis(waveforms, places, axis=1)
