"""Films composed clips in parallel: each becomes its topics, its labels and its embeddings, and no video file."""

import multiprocessing
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workflow_scripts.corpora.compose import scene as scenes
from workflow_scripts.corpora.compose.embeddings import ASSETS, SIDE, Array, Networks
from workflow_scripts.corpora.compose.sources import FONT, end_with_parent
from workflow_scripts.corpora.compose.tagged_videos import GLYPHS, PARTS, Clip, Scenery, film
from workflow_scripts.errors import UserError
from workflow_scripts.progress import progress

FPS = 1
CLIPS_A_REEL = 8  # embedded together; the same ones whatever the number of processes, as batches leave their mark


class Footage(NamedTuple):
    """A filmed clip: what it is about and its embeddings, `image` (seconds, 1280) and `audio` (seconds, 1024)."""

    topics: tuple[str, ...]
    labels: tuple[str, ...]
    image: Array
    audio: Array


@dataclass(frozen=True)
class Order:
    """What to film with."""

    scenery: Scenery
    seed: int
    assets: dict[str, Path]


def footage(order: Order, clips: Sequence[Clip], workers: int) -> list[Footage]:
    """Films the clips, in `workers` processes; the clips of a part share no sound segment or draw with the other's.

    Raises `UserError` when an asset is missing or unfit, or a process is killed.
    """
    for name in (FONT, *ASSETS):
        if name not in order.assets:
            raise UserError(f"the asset '{name}' is not given; add --asset {name}=PATH")
    reels = [clips[start : start + CLIPS_A_REEL] for start in range(0, len(clips), CLIPS_A_REEL)]
    return [one for reel in progress(filmed(order, reels, workers), "film", len(reels), "reel") for one in reel]


def filmed(order: Order, reels: Sequence[Sequence[Clip]], workers: int) -> Iterator[list[Footage]]:
    with ProcessPoolExecutor(
        min(workers, len(reels)), multiprocessing.get_context("spawn"), _open_studio, (order,)
    ) as pool:
        try:
            yield from pool.map(_shoot, reels)
        except BrokenProcessPool:
            raise UserError("a composing process was killed; give it more memory or fewer workers") from None
        finally:
            pool.shutdown(cancel_futures=True)


class Studio:
    """All that one process needs to film."""

    def __init__(self, order: Order) -> None:
        import cv2

        from workflow_scripts.corpora.compose.pictures import Pictures
        from workflow_scripts.corpora.compose.sounds import SAMPLE_RATE, SoundBank

        cv2.setNumThreads(1)
        self.order, self.sample_rate = order, SAMPLE_RATE
        self.bank = SoundBank(order.assets, PARTS, order.seed)
        self.pictures = Pictures(order.assets[FONT], GLYPHS, SIDE, SIDE)
        self.networks = Networks(order.assets)

    def shoot(self, reel: Sequence[Clip]) -> list[Footage]:
        """Films a few clips, each from its own random generator."""
        takes = [
            film(
                self.order.scenery,
                self.bank,
                self.sample_rate,
                clip,
                np.random.default_rng([self.order.seed, PARTS.index(clip.part), clip.index]),
            )
            for clip in reel
        ]
        frames = [frame for take in takes for frame in scenes.frames(take.scene, self.pictures, FPS)]
        waveforms = [scenes.waveform(take.scene) for take in takes]
        ends = np.cumsum([round(take.scene.seconds) for take in takes])[:-1]
        images = np.split(self.networks.see(np.stack(frames)), ends)
        audio = np.split(self.networks.hear(waveforms, self.sample_rate), ends)
        return [Footage(take.topics, take.labels, *pair) for take, *pair in zip(takes, images, audio, strict=True)]


_studio: list[Studio] = []  # of a worker process


def _open_studio(order: Order) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    _studio[:] = [Studio(order)]


def _shoot(reel: Sequence[Clip]) -> list[Footage]:
    return _studio[0].shoot(reel)
