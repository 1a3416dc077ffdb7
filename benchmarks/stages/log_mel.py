"""Log-mel spectrograms of clips of 10 s, beside librosa's and torchaudio's."""

from pathlib import Path

import numpy as np

from benchmarks.stage import Stage, Work
from workflow_scripts.features.extractors.logmel import LOG_OFFSET, Extractor

SETTINGS = Extractor()
BATCH = 16


def prepare(folder: Path, clips: int) -> None:
    random = np.random.default_rng(0)
    waveforms = random.uniform(-1, 1, (clips, SETTINGS.samples(10.0))).astype(np.float32)
    np.save(folder / "waveforms.npy", waveforms)


def batches(folder: Path) -> list[np.ndarray]:
    """Waveforms (clips, samples)."""
    waveforms = np.load(folder / "waveforms.npy")
    return [waveforms[start : start + BATCH] for start in range(0, len(waveforms), BATCH)]


def ours(folder: Path) -> Work:
    extract, given = SETTINGS.load({}, "cpu"), batches(folder)
    return lambda: np.concatenate([extract(batch) for batch in given])


def librosa(folder: Path) -> Work:
    from librosa.feature import melspectrogram

    given, how = batches(folder), {"sr": SETTINGS.sample_rate, "n_fft": SETTINGS.window, "hop_length": SETTINGS.hop}

    def extract(batch: np.ndarray) -> np.ndarray:
        mel = melspectrogram(y=batch, n_mels=SETTINGS.mels, power=1, pad_mode="reflect", **how)
        return np.log(mel + LOG_OFFSET).swapaxes(1, 2)

    return lambda: np.concatenate([extract(batch) for batch in given])


def torchaudio(folder: Path) -> Work:
    import torch
    from torchaudio.transforms import MelSpectrogram

    given, mel = batches(folder), {"norm": "slaney", "mel_scale": "slaney", "power": 1, "n_mels": SETTINGS.mels}
    transform = MelSpectrogram(SETTINGS.sample_rate, SETTINGS.window, hop_length=SETTINGS.hop, **mel)

    def extract(batch: np.ndarray) -> np.ndarray:
        return (transform(torch.from_numpy(batch)) + LOG_OFFSET).log().transpose(1, 2).numpy()

    return lambda: np.concatenate([extract(batch) for batch in given])


def transforms(folder: Path) -> Work:
    import torch

    clips = sum(map(len, batches(folder)))
    frames = torch.randn(SETTINGS.shape(10.0)[0], SETTINGS.window)
    spectra, filters = torch.randn(len(frames), SETTINGS.window // 2 + 1), torch.randn(SETTINGS.window // 2 + 1, 128)

    def work() -> None:
        for _ in range(clips):
            torch.fft.rfft(frames)
            torch.mm(spectra, filters)

    return work


STAGE = Stage(
    place=10,
    title="log-mel from samples",
    unit="clips of 10 s",
    size=64,
    prepare=prepare,
    ours=ours,
    peers={"librosa": librosa, "torchaudio": torchaudio},
    limit=("the FFTs of frames that are already cut and windowed, and the product with the mel filters", transforms),
)
