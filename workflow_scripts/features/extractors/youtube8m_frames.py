"""YouTube-8M's features of frames, one a second, as published."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from workflow_scripts.features.interface import RecordExtractor
from workflow_scripts.formats.youtube8m import AUDIO, RGB, read_frames
from workflow_scripts.shards import Row, array_field, pack


class Extractor(RecordExtractor):
    """The image's 1024 and the sound's 128 features, still quantised: a quarter of their size as numbers."""

    level = "frame"
    rows_a_group = 64
    max_frames: int = Field(default=300, ge=1, description="Frames kept of a video; shorter ones are padded with zeros")

    def columns(self) -> list[pa.Field]:
        frames = array_field("frames", "uint8", (self.max_frames, RGB + AUDIO))
        return [frames, pa.field("num_frames", pa.int32())]

    def read(self, file: Path) -> Iterator[Row]:
        column, count = self.columns()
        for video in read_frames(file):
            kept = min(len(video.rgb), self.max_frames)
            padded = np.zeros((self.max_frames, RGB + AUDIO), np.uint8)
            padded[:kept, :RGB], padded[:kept, RGB:] = video.rgb[:kept], video.audio[:kept]
            row = {"clip_id": video.clip_id, "labels": video.labels}
            yield row | {column.name: pack(padded, column), count.name: kept}
