"""YouTube-8M's features of frames, one a second, as published."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from workflow_scripts.features.interface import RecordExtractor
from workflow_scripts.formats.youtube8m import RecordError, decode_frames, read
from workflow_scripts.shards import Reason, Row, Status


class Extractor(RecordExtractor):
    """Where the image's 1024 and the sound's 128 features lie in the record files.

    They are 8-bit already and cannot be compressed: a copy would be as large as the records, and slower to read.
    """

    revision: ClassVar[int] = 2
    level = "frame"
    rows_a_group = 64
    max_frames: int = Field(default=300, ge=1, description="Frames read of a video; shorter ones are padded with zeros")

    def columns(self) -> list[pa.Field]:
        """The record file, relative to the folder `records` of the metadata, the place in it, and the frames read."""
        frames = pa.field("num_frames", pa.int32(), metadata={"most": str(self.max_frames)})
        return [pa.field("path", pa.string()), pa.field("start", pa.int64()), pa.field("length", pa.int64()), frames]

    def read(self, file: Path) -> Iterator[Row]:
        for place, video in read(file, decode_frames):
            row = {"clip_id": video.clip_id, "labels": video.labels}
            if isinstance(video, RecordError):
                yield row | {"status": Status.FAILED, "reason": Reason.DECODE, "detail": video.detail}
            else:
                yield row | place._asdict() | {"num_frames": min(len(video.rgb), self.max_frames)}
