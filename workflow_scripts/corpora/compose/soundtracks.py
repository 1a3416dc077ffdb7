"""Composes sound-only sources in parallel: `folder/sources/<name>.flac`, each from a random generator of its own.

FLAC loses nothing, its encoder gives the same bytes each time, and a section of it is cut to the sample.
"""

import multiprocessing
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from workflow_scripts.corpora.compose import scene as scenes
from workflow_scripts.corpora.compose.scene import Bank, Rng, Scene, Waveform
from workflow_scripts.corpora.compose.sources import Assets, Source, end_with_parent
from workflow_scripts.errors import UserError
from workflow_scripts.progress import progress
from workflow_scripts.shards import atomic

T_co = TypeVar("T_co", covariant=True)
SUFFIX = ".flac"
SPLITS = ("train", "test")


class Composer(Protocol):
    """What a corpus says about its sources."""

    @property
    def seed(self) -> int: ...

    @property
    def assets(self) -> tuple[str, ...]: ...

    def scene(self, bank: Bank, sample_rate: int, source: Source, rng: Rng) -> Scene: ...


class Maker(Protocol[T_co]):
    """Makes something of one source after another."""

    def make(self, source: Source) -> T_co: ...


def compose(composer: Composer, wanted: Sequence[Source], assets: Assets, folder: Path, workers: int) -> None:
    """Writes the `wanted` sources in place of any others.

    Raises `UserError` when an asset is missing or unfit, or a process is killed.
    """
    for name in composer.assets:
        if name not in assets:
            raise UserError(f"the asset '{name}' is not given; add --asset {name}=PATH")
    shutil.rmtree(folder / "sources", ignore_errors=True)
    for _ in progress(
        in_studios(Studio, (composer, assets, folder), wanted, workers), "compose", len(wanted), "source"
    ):
        pass


def generator(seed: int, source: Source, purpose: int) -> Rng:
    """The random numbers of a source for one purpose, shared with no other split."""
    return np.random.default_rng([seed, SPLITS.index(source.split), source.index, purpose])


def in_studios(
    studio: Callable[..., Maker[T_co]], given: tuple[Any, ...], wanted: Sequence[Source], workers: int
) -> Iterator[T_co]:
    """What studios, one made of `given` in each process, make of the wanted sources, in their order."""
    if workers == 1:
        yield from map(studio(*given).make, wanted)
        return
    with ProcessPoolExecutor(
        min(workers, len(wanted)), multiprocessing.get_context("spawn"), _open_studio, (studio, given)
    ) as pool:
        try:
            yield from pool.map(_make, wanted, chunksize=4)
        except BrokenProcessPool:
            raise UserError("a composing process was killed; give it more memory or fewer workers") from None
        finally:
            pool.shutdown(cancel_futures=True)


class Studio:
    """All that one process needs to compose sources."""

    def __init__(self, composer: Composer, assets: Assets, folder: Path) -> None:
        from workflow_scripts.corpora.compose.sounds import SAMPLE_RATE, SoundBank

        self.composer, self.folder, self.sample_rate = composer, folder, SAMPLE_RATE
        self.bank = SoundBank(assets, SPLITS, composer.seed)

    def make(self, source: Source) -> None:
        """Composes a source, whatever was composed before it."""
        scene = self.composer.scene(self.bank, self.sample_rate, source, generator(self.composer.seed, source, 1))
        save(self.folder / "sources" / f"{source.id}{SUFFIX}", scenes.waveform(scene), self.sample_rate)


def save(path: Path, waveform: Waveform, sample_rate: int) -> None:
    """Writes a waveform, (samples,) in -1…1, as 16-bit FLAC."""
    import soundfile

    with atomic(path) as temporary:
        soundfile.write(temporary, waveform, sample_rate, format="FLAC", subtype="PCM_16")


_studio: list[Maker[Any]] = []  # of a worker process


def _open_studio(studio: Callable[..., Maker[Any]], given: tuple[Any, ...]) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    _studio[:] = [studio(*given)]


def _make(source: Source) -> Any:
    return _studio[0].make(source)
