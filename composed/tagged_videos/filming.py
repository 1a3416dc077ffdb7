"""Films composed clips in parallel: each becomes its topics, its labels and its embeddings, and no video file."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from composed.pictures.glyphs import FONT, Pictures
from composed.processes import in_processes
from composed.scenes import scene as scenes
from composed.tagged_videos.embeddings import SIDE, Array, Networks
from composed.tagged_videos.scenery import GLYPHS, PARTS, SPEECH, Clip, Scenery, film
from composed.text.topics import TOPICS
from composed.types import Assets, Rng
from workflow_scripts.progress import progress

FPS = 1
CLIPS_A_REEL = 8  # embedded together; the same ones whatever the number of processes, as batches leave their mark


class Footage(NamedTuple):
    """A filmed clip: what it is about and its embeddings, `image` (seconds, 1280) and `audio` (seconds, 1024)."""

    topics: tuple[str, ...]
    labels: tuple[str, ...]
    image: Array
    audio: Array


def footage(scenery: Scenery, seed: int, assets: Assets, clips: Sequence[Clip], workers: int) -> list[Footage]:
    """Films the clips, in `workers` processes; the clips of a part share no sound segment or draw with the other's."""
    reels = [clips[start : start + CLIPS_A_REEL] for start in range(0, len(clips), CLIPS_A_REEL)]
    filmed = progress(in_processes(FootageMaker, (scenery, seed, assets), reels, workers), "film", len(reels), "reel")
    return [one for reel in filmed for one in reel]


class FootageMaker:
    """Films one reel after another."""

    def __init__(self, scenery: Scenery, seed: int, assets: Assets) -> None:
        import cv2

        from composed.sounds.bank import SAMPLE_RATE, SoundBank

        cv2.setNumThreads(1)
        self.scenery, self.seed, self.sample_rate = scenery, seed, SAMPLE_RATE
        self.bank = SoundBank(assets, PARTS, seed)
        self.bank.load([*(about.sound for about in TOPICS.values() if about.sound), SPEECH])
        self.pictures = Pictures(assets[FONT], GLYPHS, SIDE, SIDE)
        self.networks = Networks(assets)

    def make(self, reel: Sequence[Clip]) -> list[Footage]:
        """Films a few clips."""
        takes = [film(self.scenery, self.bank, self.sample_rate, clip, self.generator(clip)) for clip in reel]
        frames = [frame for take in takes for frame in scenes.frames(take.scene, self.pictures, FPS)]
        waveforms = [scenes.waveform(take.scene) for take in takes]
        ends = np.cumsum([round(take.scene.seconds) for take in takes])[:-1]
        images = np.split(self.networks.see(np.stack(frames)), ends)
        audio = np.split(self.networks.hear(waveforms, self.sample_rate), ends)
        return [Footage(take.topics, take.labels, *pair) for take, *pair in zip(takes, images, audio, strict=True)]

    def generator(self, clip: Clip) -> Rng:
        """The random numbers of one clip."""
        return np.random.default_rng([self.seed, PARTS.index(clip.part), clip.index])
