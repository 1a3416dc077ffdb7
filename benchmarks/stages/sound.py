"""The sound of mp4 clips of 5 s at its own rate, beside librosa.load and a pipe from ffmpeg."""

import functools
import os
import subprocess
from pathlib import Path

import numpy as np

from benchmarks import films
from benchmarks.stage import Stage, Work, agree
from workflow_scripts.media.audio import read_clip
from workflow_scripts.settings.media import Audio, Bounds

SECONDS = 5.0
DIFFERENT = 4  # clips; the others are the same files under other names


def prepare(folder: Path, clips: int) -> None:
    random = np.random.default_rng(0)
    frames = films.pictures(64, 48, 5, SECONDS, random)
    for number in range(clips):
        path = folder / f"{number:04}.mp4"
        if number < DIFFERENT:
            films.write(path, films.sound(SECONDS, random), frames, 5)
        else:
            path.hardlink_to(folder / f"{number % DIFFERENT:04}.mp4")


def paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.mp4"))


def ours(folder: Path, rate: int = films.RATE) -> Work:
    settings, bounds = Audio(sample_rate=rate, clip_seconds=SECONDS), Bounds()
    return lambda: [read_clip(path, settings, bounds)[0] for path in paths(folder)]


def librosa(folder: Path, rate: int = films.RATE) -> Work:
    from librosa import load

    programs = folder / "programs"  # librosa leaves mp4 to a program of this name
    programs.mkdir(exist_ok=True)
    if not (programs / "ffmpeg").exists():
        (programs / "ffmpeg").symlink_to(ffmpeg())
    os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
    return lambda: [load(path, sr=rate)[0] for path in paths(folder)]


def pipe(folder: Path, rate: int = films.RATE) -> Work:
    program, mean = ffmpeg(), "pan=mono|c0=0.5*c0+0.5*c1"  # `-ac 1` would be 3 dB louder

    def read(path: Path) -> np.ndarray:
        how = ["-threads", "1", "-i", str(path), "-vn", "-af", mean, "-ar", str(rate), "-f", "f32le", "-"]
        done = subprocess.run([program, "-v", "error", *how], stdout=subprocess.PIPE, check=True)
        return np.frombuffer(done.stdout, np.float32)

    return lambda: [read(path) for path in paths(folder)]


def ffmpeg() -> str:
    from imageio_ffmpeg import get_ffmpeg_exe

    path: str = get_ffmpeg_exe()
    return path


def decode_only(folder: Path) -> Work:
    import av

    def read(path: Path) -> None:
        with av.open(str(path)) as container:
            for _ in container.decode(audio=0):
                pass

    return lambda: [read(path) for path in paths(folder)]


def same(ours: Work, theirs: Work) -> str:
    """That both hear the same, but for rounding to 16 bits and the filters of resampling."""
    apart = 0.0
    for one, other in zip(ours(), theirs(), strict=True):
        both = min(len(one), len(other))
        agree(both >= 0.99 * len(one), f"{len(other)} samples, and ours are {len(one)}")
        apart = max(apart, float(np.sqrt(np.mean((one[:both] / 32768 - other[:both]) ** 2))))
    agree(apart < 3e-3, f"differs by {apart:.1g} (root of the mean square)")
    return f"differs by at most {apart:.1g} (root of the mean square of a clip)"


def stage(place: int, title: str, rate: int) -> Stage:
    return Stage(
        place=place,
        title=title,
        unit="clips of 5 s",
        size=100,
        prepare=prepare,
        ours=functools.partial(ours, rate=rate),
        peers={
            "librosa.load": functools.partial(librosa, rate=rate),
            "ffmpeg, a pipe": functools.partial(pipe, rate=rate),
        },
        limit=("PyAV decodes, and nothing is made of it", decode_only),
        same=same,
        note="Ours also makes the mean of the channels, cuts to length, tells silence, and rounds to 16 bits.",
    )


STAGE = stage(20, "mp4 to samples", films.RATE)
