"""Frames of a clip lie in a file until they are small: memory holds a few at a time."""

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_files import write_movie
from numpy.lib.format import open_memmap

from workflow_scripts.features.extract import frame_inputs
from workflow_scripts.features.extractors.vgg16 import Extractor
from workflow_scripts.features.images import fit
from workflow_scripts.features.plan import ExtractFeatures
from workflow_scripts.media.frames import read, times
from workflow_scripts.media.stored import checksum, stamp
from workflow_scripts.media.workers import Workers
from workflow_scripts.shards import Row, Status

COUNT = 120


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_movie(tmp_path_factory.mktemp("movie") / "files" / "a.mp4", 3)


def peak_of(work: Callable[[], Any]) -> tuple[Any, int]:
    """What some work gives, and the most bytes that it had at a time."""
    tracemalloc.start()
    try:
        return work(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_frames_are_read_into_a_file(movie: Path, tmp_path: Path) -> None:
    at = times(3, COUNT)
    whole = read(movie, at)
    found, peak = peak_of(
        lambda: read(movie, at, room=lambda shape: open_memmap(tmp_path / "a.npy", "w+", np.uint8, shape))
    )
    assert np.array_equal(found, whole) and np.array_equal(np.load(tmp_path / "a.npy"), whole)
    assert peak < whole.nbytes / 4


def test_frames_are_made_small_a_few_at_a_time(movie: Path) -> None:
    extractor = Extractor(frames_per_clip=COUNT, size=32)
    row: Row = {"clip_id": "a", "path": "files/a.mp4", "seconds": 3.0, "status": Status.OK}
    row |= {"bytes": movie.stat().st_size, "sha256": checksum(movie, "sha256"), "stamp": stamp(movie)}
    store = movie.parent.parent
    job = ExtractFeatures(
        extractor="vgg16", settings=extractor, clips=store / "0.parquet", store=store, clip_seconds=3, device="cpu"
    )
    with Workers(1) as workers, ThreadPoolExecutor(1) as pool, pytest.MonkeyPatch.context() as patch:
        patch.setattr("workflow_scripts.features.extract.column_of", lambda *_: None)
        inputs = frame_inputs(job, extractor, workers, pool)
        inputs([row])  # what is imported at first
        (found,), peak = peak_of(lambda: inputs([row]))
    whole = read(movie, times(3, COUNT))
    assert np.array_equal(found, fit(whole, extractor.size, extractor.resize))
    assert peak < whole.nbytes / 2
