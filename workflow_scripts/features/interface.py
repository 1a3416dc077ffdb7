"""What a feature extractor is.

An extractor is one file in `extractors/`, named as users write it, with one class `Extractor` made from a base below:
its fields are the settings, `shape` or `columns` tell what it puts out without loading anything, and `load` or `read`
extract. Heavy libraries are imported in `load` only, because settings are checked while planning.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from workflow_scripts.settings.base import Plugin
from workflow_scripts.shards import Row

Extract = Callable[[np.ndarray], np.ndarray]
Lookup = Callable[[list[str]], np.ndarray]


class FeatureExtractor(Plugin, ABC):
    """Settings of an extractor and the way to its function."""

    source: ClassVar[Literal["audio", "frames", "corpus", "records", "text", "captions"]]
    hub_models: ClassVar[dict[str, str]] = {}  # revisions of the models on the Hugging Face hub that it needs, by name
    uses_gpu: ClassVar[bool] = False  # whether it is a network that a GPU makes much faster


class ArrayExtractor(FeatureExtractor):
    """An extractor that makes one array of each clip."""

    @abstractmethod
    def shape(self, clip_seconds: float) -> tuple[int, int]:
        """(frames, dimensions) of the features of a clip."""


class RecordExtractor(FeatureExtractor):
    """An extractor that takes features out of record files, which hold precomputed features and labels of many clips.

    `read` gives of every record of a file its `clip_id`, its `labels` (class numbers) and the values of `columns`.
    """

    source = "records"
    level: ClassVar[Literal["video", "frame"]]
    rows_a_group: ClassVar[int] = 256  # of the shards: as many are in memory at once

    @abstractmethod
    def columns(self) -> list[pa.Field]:
        """The columns that it fills."""

    @abstractmethod
    def read(self, file: Path) -> Iterator[Row]:
        """The records of a file, in its order; `UserError` when it is damaged.

        A row of a record that cannot be used has a `status`, a `reason` and a `detail` instead. The column `path`, the
        record file, is filled for an extractor that has it.
        """


class TextExtractor(FeatureExtractor):
    """An extractor that reads the texts that people wrote about a clip."""

    source = "text"
    rows_a_group: ClassVar[int] = 256

    @abstractmethod
    def columns(self) -> list[pa.Field]:
        """The columns that it fills."""

    @abstractmethod
    def load(self, assets: dict[str, Path], classes: list[str]) -> Callable[[Row], Row]:
        """The function from a clip's texts and `labels` (class numbers) to its columns; may raise `ClipError`."""


class CaptionExtractor(FeatureExtractor):
    """An extractor that rewrites the captions in the manifest, by `captions/rewrite.py`: one row a caption."""

    source = "captions"


class FeatureReducer(Plugin, ABC):
    """Settings of a reducer, one file in `reducers/` with one class `Reducer`: whole features to one file."""

    suffix: ClassVar[Literal[".parquet", ".json"]]

    @abstractmethod
    def reduce(self, shards: list[Path], manifest: Path, assets: dict[str, Path], output: Path) -> None:
        """Computes the file from a feature's shards and the corpus's manifest, in bounded memory."""


class CorpusExtractor(ArrayExtractor):
    """An extractor that takes features out of a corpus's own files: nothing is fetched or decoded."""

    source = "corpus"
    files: ClassVar[tuple[str, ...]]  # the files that it needs, by the names that the corpus's reader gives them

    @abstractmethod
    def load(self, files: dict[str, Path], device: str) -> Lookup:
        """The function from clip ids to float32 (clips, frames, dimensions); unfit files are a `UserError`."""


class MediaExtractor(ArrayExtractor):
    """An extractor that is given what was decoded from a clip's media."""

    @abstractmethod
    def load(self, assets: dict[str, Path], device: str) -> Extract:
        """The function from a batch of clips to float32 (batch, frames, dimensions).

        The batch is float32 (batch, samples) in [-1, 1], or uint8 RGB (batch, frames, height, width, 3). `assets`
        holds a file for each id in the class's `assets`; one with other contents is a `UserError`.
        """


class AudioExtractor(MediaExtractor):
    """An extractor that listens."""

    source = "audio"
    sample_rate: int = Field(ge=1, le=1_000_000, description="Samples a second of the audio that it expects")
    peak_normalise: bool = Field(default=False, description="Scale each clip's waveform to a peak of 1 before")

    def samples(self, clip_seconds: float) -> int:
        """Length of a clip's zero-padded waveform."""
        return round(clip_seconds * self.sample_rate)


class PatchExtractor(AudioExtractor):
    """A network that hears 0.96-s patches of log-mel frames made with 25-ms windows every 10 ms."""

    sample_rate: Literal[16_000] = Field(default=16_000, description="Samples a second of the audio that it expects")
    hop_frames: int = Field(default=96, ge=1, description="Log-mel frames (10 ms each) from patch to patch")

    def patches(self, clip_seconds: float) -> int:
        """Number of whole patches in a clip, which counts as one patch long if it is shorter."""
        frames = max(96, 1 + (self.samples(clip_seconds) - 400) // 160)
        return 1 + (frames - 96) // self.hop_frames


class FrameExtractor(MediaExtractor):
    """An extractor that looks at single frames."""

    source = "frames"
    dimensions: ClassVar[int]
    frames_per_clip: int = Field(ge=1, le=100_000, description="Frames looked at in a clip, at equal distances")
    size: int = Field(default=224, ge=32, description="Width and height of the image that the network sees, pixels")
    resize: Literal["direct", "resize256_crop"] = Field(
        default="direct",
        description="`direct`: the whole frame, squeezed to a square; `resize256_crop`: shorter side to 256/224 of "
        "`size`, then the square in the middle",
    )

    def shape(self, clip_seconds: float) -> tuple[int, int]:
        return self.frames_per_clip, self.dimensions

    def times(self, clip_seconds: float) -> np.ndarray:
        """Where in the clip the frames are taken, seconds: the middles of equal parts."""
        from workflow_scripts.media.frames import times

        return times(clip_seconds, self.frames_per_clip)
