"""Log-mel spectrograms: ours beside librosa and torchaudio, in one run on the same clips.

`OMP_NUM_THREADS=1 python -m benchmarks.log_mel` prints clips a second of wall time on one core (librosa's numpy takes
all of them otherwise); timings vary between machines, their ratios little.
"""

import time
from collections.abc import Callable
from typing import Annotated

import numpy as np
import typer

from workflow_scripts.features.extractors.logmel import LOG_OFFSET, Extractor


def librosa_log_mel(settings: Extractor) -> Callable[[np.ndarray], np.ndarray]:
    import librosa

    def extract(waveforms: np.ndarray) -> np.ndarray:
        rate, window, hop = settings.sample_rate, settings.window, settings.hop
        mel = librosa.feature.melspectrogram(
            y=waveforms, sr=rate, n_fft=window, hop_length=hop, n_mels=settings.mels, power=1, pad_mode="reflect"
        )
        return np.log(mel + LOG_OFFSET).swapaxes(1, 2)

    return extract


def torchaudio_log_mel(settings: Extractor) -> Callable[[np.ndarray], np.ndarray]:
    import torch
    from torchaudio.transforms import MelSpectrogram

    transform = MelSpectrogram(
        settings.sample_rate,
        settings.window,
        hop_length=settings.hop,
        n_mels=settings.mels,
        power=1,
        norm="slaney",
        mel_scale="slaney",
    )
    return lambda waveforms: (transform(torch.from_numpy(waveforms)) + LOG_OFFSET).log().transpose(1, 2).numpy()


def main(
    clips: Annotated[int, typer.Option(min=1, help="Clips of 10 s in a batch.")] = 16,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each extracts the batch; the median counts.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="Threads of PyTorch.")] = 1,
) -> None:
    """Prints clips a second and our ratio to each library, for clips one by one and for the whole batch."""
    import torch

    torch.set_num_threads(threads)
    settings = Extractor()
    waveforms = np.random.default_rng(0).uniform(-1, 1, (clips, settings.samples(10.0))).astype(np.float32)
    batch = {
        "ours": settings.load({}, "cpu"),
        "librosa": librosa_log_mel(settings),
        "torchaudio": torchaudio_log_mel(settings),
    }
    expected = batch["librosa"](waveforms)
    for extract in batch.values():
        np.testing.assert_allclose(extract(waveforms), expected, atol=1e-3)
    ways = {(name, size): extract for name, extract in batch.items() for size in (1, clips)}
    seconds: dict[tuple[str, int], list[float]] = {way: [] for way in ways}
    for _ in range(rounds):  # in turn, so that a busy moment of the machine meets all of them
        for (name, size), extract in ways.items():
            start = time.perf_counter()
            for first in range(0, clips, size):
                extract(waveforms[first : first + size])
            seconds[name, size].append(time.perf_counter() - start)
    rate = {way: clips / float(np.median(values)) for way, values in seconds.items()}
    for (name, size), value in rate.items():
        ratio = rate["ours", clips] / value
        print(f"{name:10} {size:3} clips at once {value:7.1f} clips/s; ours, batched, is {ratio:.2f} times as fast")


if __name__ == "__main__":
    typer.run(main)
