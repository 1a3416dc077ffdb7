"""Features of composed clips in the form of YouTube-8M's: one a second, whitened, filling its quantiser's range.

YouTube-8M has an image network's 2048 features reduced by PCA with whitening to 1024, and an audio network's 128. Here
smaller networks stand in their places: EfficientNet-lite0 (1280 numbers) and YAMNet (1024 numbers).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from composed.types import Assets, Probability, Rng
from workflow_scripts.settings.base import Strict

Array = NDArray[np.float32]

SIDE = 128  # pixels of the square frames
IMAGES, PATCHES = 16, 64  # at once: the quickest sizes on a CPU
ASSETS = ("efficientnet_lite0_weights", "yamnet_index", "yamnet_weights")


class Reduction(Strict):
    """How embeddings become features, and what the videos made of one clip differ in."""

    whitening: float = Field(
        default=0.2, gt=0, description="Added to the variances, relative to the largest, before they are made equal"
    )
    clipped: Probability = Field(default=0.002, description="Share of the features that the quantiser clips")
    frame_noise: float = Field(
        default=0.7, ge=0, description="Deviation of a sampled video's frames, relative to that within clips"
    )
    video_noise: float = Field(
        default=0.4, ge=0, description="Deviation of a whole sampled video, relative to that within clips"
    )


class Networks:
    """The two networks, on one CPU thread so that many processes get along and all give the same numbers."""

    def __init__(self, assets: Assets) -> None:
        import torch

        from workflow_scripts.models.efficientnet_lite import EfficientNetLite0
        from workflow_scripts.models.pretrained import pretrained
        from workflow_scripts.models.yamnet import Yamnet

        torch.set_num_threads(1)
        image = pretrained(EfficientNetLite0, assets["efficientnet_lite0_weights"]).fuse()
        self.image = image.to(memory_format=torch.channels_last)
        self.audio = Yamnet.from_bundle(assets["yamnet_index"], assets["yamnet_weights"])

    def see(self, frames: NDArray[np.uint8]) -> Array:
        """Frames (n, SIDE, SIDE, 3) as (n, 1280); those that are alike, as empty backdrops are, are embedded once."""
        import torch

        from workflow_scripts.models.efficientnet_lite import MEAN, SCALE

        contents = [frame.tobytes() for frame in frames]
        different = dict(zip(contents, frames, strict=True))
        places = {content: place for place, content in enumerate(different)}
        images = torch.from_numpy(np.stack([*different.values()])).permute(0, 3, 1, 2)
        with torch.inference_mode():
            seen = torch.cat([self.image.features((part - MEAN) / SCALE) for part in images.split(IMAGES)]).numpy()
        return seen[[places[content] for content in contents]]

    def hear(self, waveforms: Sequence[Array], sample_rate: int) -> Array:
        """Waveforms of whole seconds as (all seconds, 1024): one window at the beginning of every second."""
        import soxr
        import torch

        from workflow_scripts.models import yamnet

        with torch.inference_mode():
            patches = []
            for waveform in waveforms:
                audio = torch.from_numpy(soxr.resample(waveform, sample_rate, yamnet.SAMPLE_RATE))
                log_mel = self.audio.log_mel(audio[None])
                patches.append(self.audio.patches(log_mel, yamnet.SAMPLE_RATE // yamnet.HOP)[0])
            return torch.cat(
                [self.audio.feature_map(part).mean((2, 3)) for part in torch.cat(patches).split(PATCHES)]
            ).numpy()


@dataclass(frozen=True)
class Whitening:
    """Principal components, made about equally large by dividing each by its deviation."""

    mean: Array  # (inputs,)
    matrix: Array  # (inputs, outputs)

    @classmethod
    def fit(cls, embeddings: Array, outputs: int, reduction: Reduction) -> Self:
        """Fitted on (n, inputs). The components that n embeddings do not have are 0."""
        mean = embeddings.mean(axis=0)
        centred = embeddings - mean
        variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        kept = min(outputs, len(centred) - 1, len(mean))
        variances, vectors = np.maximum(variances[::-1][:kept], 0), vectors[:, ::-1][:, :kept]
        matrix = np.zeros((len(mean), outputs), np.float32)
        matrix[:, :kept] = vectors / np.sqrt(variances + reduction.whitening * variances[0])
        limit = np.quantile(np.abs(centred @ matrix[:, :kept]), 1 - reduction.clipped)
        return cls(mean, (matrix * (2 / limit)).astype(np.float32))

    def __call__(self, embeddings: Array) -> Array:
        return np.asarray((embeddings - self.mean) @ self.matrix, np.float32)


class Features(NamedTuple):
    """What one part's clips look and sound like: (seconds, image and audio dimensions) each."""

    clips: list[Array]
    deviation: Array  # (dimensions, dimensions); times standard normal numbers: deviations as within the clips

    @classmethod
    def of(cls, clips: list[Array]) -> Self:
        within = np.concatenate([clip - clip.mean(axis=0) for clip in clips])
        variances, vectors = np.linalg.eigh(within.T @ within / len(within))
        return cls(clips, (vectors * np.sqrt(np.maximum(variances, 0))).astype(np.float32))

    def sample(self, clip: int, seconds: int, reduction: Reduction, rng: Rng) -> Array:
        """A video like a clip, (seconds, dimensions): seconds of the clip in their order, some twice, and noise."""
        places = np.sort(rng.integers(len(self.clips[clip]), size=seconds))
        normal = rng.standard_normal((seconds + 1, len(self.deviation)), dtype=np.float32)
        normal[1:] *= reduction.frame_noise
        noise = normal @ self.deviation.T
        return self.clips[clip][places] + noise[1:] + reduction.video_noise * noise[0]
