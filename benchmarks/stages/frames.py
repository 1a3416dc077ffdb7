"""Frames of a noisy film of 640 × 360 pixels, every second one of 30 a second, beside OpenCV and PyAV by hand."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import films
from benchmarks.stage import Stage, Work, agree
from workflow_scripts.media import frames

FPS, KEPT = 30, 2  # of how many frames the first is kept


def prepare(folder: Path, kept: int) -> None:
    random = np.random.default_rng(0)
    seconds = kept * KEPT / FPS
    films.write(folder / "film.mp4", None, films.pictures(640, 360, FPS, seconds, random), FPS)


def ours(folder: Path) -> Work:
    path = folder / "film.mp4"

    def work() -> np.ndarray:
        seconds = frames.timestamps(path, frames.Bounds())[1]
        return frames.read(path, np.arange(0, seconds, KEPT / FPS))

    return work


def opencv(folder: Path) -> Work:
    import cv2

    def pictures() -> Iterator[np.ndarray]:
        capture = cv2.VideoCapture(str(folder / "film.mp4"), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        number = 0
        while capture.grab():
            if number % KEPT == 0:
                yield cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
            number += 1

    return lambda: np.stack(list(pictures()))


def pyav(folder: Path) -> Work:
    import av

    def pictures() -> Iterator[np.ndarray]:
        with av.open(str(folder / "film.mp4")) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % KEPT == 0:
                    yield frame.to_ndarray(format="rgb24")

    return lambda: np.stack(list(pictures()))


def null_decode(folder: Path) -> Work:
    import av

    def work() -> None:
        with av.open(str(folder / "film.mp4")) as container:
            for _ in container.decode(video=0):
                pass

    return work


def same(ours: Work, theirs: Work) -> str:
    """That both have the same pictures: conversions to RGB round in their own ways."""
    one, other = ours().astype(np.int16), theirs().astype(np.int16)
    agree(one.shape == other.shape, f"{other.shape}, and ours {one.shape}")
    apart = np.abs(one - other).mean(axis=(1, 2, 3)).max()
    agree(apart < 2, f"a picture differs by {apart:.2g} levels of 255 on average")
    return f"a picture differs by at most {apart:.1g} levels of 255 on average"


STAGE = Stage(
    place=30,
    title="mp4 to frames, 15 of 30 a second, noisy 640 × 360",
    unit="frames",
    size=225,
    prepare=prepare,
    ours=ours,
    peers={"OpenCV by hand": opencv, "PyAV by hand": pyav},
    limit=("PyAV decodes all, and no colour is made", null_decode),
    same=same,
    note="Ours also reads when each frame appears, and checks it of every frame that it takes.",
)
