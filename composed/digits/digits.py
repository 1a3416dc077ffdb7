"""Digits as pictures and as recordings: MNIST in its two forms, spoken digits from archives and from eSpeak NG."""

import gzip
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from composed.sounds.speech import Voice, speak
from composed.sounds.waveforms import trimmed
from composed.types import Waveform
from workflow_scripts.errors import UserError
from workflow_scripts.progress import progress

SAMPLE_RATE = 8_000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RECORDING = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_/]+)_(?P<number>\d+)\.wav")
IDX_HEADER = {2049: 8, 2051: 16}  # bytes before the data, by the number that a file of labels or images begins with


class Images(NamedTuple):
    """Pictures uint8 (n, 28, 28) and their digits (n,)."""

    pixels: NDArray[np.uint8]
    digits: NDArray[np.int64]


class Recording(NamedTuple):
    """One spoken digit at 8 kHz."""

    digit: int
    speaker: str
    waveform: Waveform


def idx_images(images: Path, labels: Path) -> Images:
    """MNIST in its own format, gzip-compressed or not."""
    return Images(idx(images).reshape(-1, 28, 28), idx(labels).astype(np.int64))


def idx(path: Path) -> NDArray[np.uint8]:
    """The bytes of an idx file after its header."""
    data = unzipped(path)
    header = IDX_HEADER.get(int.from_bytes(data[:4], "big"))
    if header is None:
        raise UserError(f"{path}: not an idx file of MNIST images or labels; fetch the asset again")
    return np.frombuffer(data, np.uint8, offset=header)


def csv_images(path: Path) -> Images:
    """MNIST as comma-separated lines of 784 pixels and the digit, gzip-compressed or not."""
    try:
        table = np.loadtxt(io.BytesIO(unzipped(path)), delimiter=",", dtype=np.uint8, ndmin=2)
    except ValueError as error:
        raise UserError(f"{path}: not lines of numbers from 0 to 255 ({error})") from None
    if table.shape[1] != 785:
        raise UserError(f"{path}: expected 784 pixels and a digit in each line, found {table.shape[1]} numbers")
    return Images(table[:, :784].reshape(-1, 28, 28), table[:, 784].astype(np.int64))


def unzipped(path: Path) -> bytes:
    data = path.read_bytes()
    try:
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: damaged ({error}); fetch the asset again") from None


def recordings(path: Path) -> list[Recording]:
    """The recordings `<digit>_<speaker>_<number>.wav` in a folder, a zip or a tar file, by name; nothing is unpacked.

    Raises `UserError` when there is none, or one that cannot be decoded.
    """
    found = [
        (name, Recording(int(match["digit"]), match["speaker"], decode(data, f"{path}: {name}")))
        for name, data in progress(files_in(path), f"read {path.name}", unit="file")
        if (match := RECORDING.fullmatch(name))
    ]
    if not found:
        raise UserError(f"{path}: holds no file <digit>_<speaker>_<number>.wav")
    return [recording for _, recording in sorted(found, key=lambda pair: pair[0])]


def files_in(path: Path) -> Iterator[tuple[str, bytes]]:
    """Base names and contents of the wav files in a folder, a zip or a tar file, in the order of the file."""
    if path.is_dir():
        yield from ((file.name, file.read_bytes()) for file in path.rglob("*.wav"))
        return
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(".wav"):
                        yield Path(name).name, archive.read(name)
            return
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".wav") and (file := tar.extractfile(member)) is not None:
                    yield Path(member.name).name, file.read()
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a readable zip or tar file ({error}); fetch the asset again") from None


def decode(data: bytes, where: str) -> Waveform:
    """A wav file's samples as mono float32 at 8 kHz."""
    import soundfile

    try:
        audio, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except RuntimeError as error:
        raise UserError(f"{where}: not a readable recording ({error})") from None
    return at_8_khz(audio.mean(axis=1), rate)


def at_8_khz(audio: Waveform, rate: int) -> Waveform:
    import soxr

    resampled: Waveform = soxr.resample(audio, rate, SAMPLE_RATE)
    return resampled


def spoken(voices: Mapping[str, Sequence[Voice]], workers: int) -> list[Recording]:
    """Every digit by every voice of every speaker, in order, by eSpeak NG."""
    every = [(speaker, voice) for speaker, mine in voices.items() for voice in mine]
    with ThreadPoolExecutor(workers) as pool:
        takes = list(progress(pool.map(lambda pair: speak(pair[1], WORDS), every), "speak", len(every), "voice"))
    return [
        Recording(digit, speaker, at_8_khz(trimmed(waveform), rate))
        for (speaker, _), (rate, take) in zip(every, takes, strict=True)
        for digit, waveform in enumerate(take)
    ]
