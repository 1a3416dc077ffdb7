"""YouTube-8M's features of whole videos, as published."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from workflow_scripts.features.interface import RecordExtractor
from workflow_scripts.formats.youtube8m import AUDIO, RGB, RecordError, decode_video, read
from workflow_scripts.shards import Reason, Row, Status, array_field, pack

LARGEST = float(np.finfo(np.float16).max)
COLUMN = array_field("features", "float16", (1, RGB + AUDIO))


class Extractor(RecordExtractor):
    """The means over time of the image's 1024 features and of the sound's 128."""

    level = "video"

    def columns(self) -> list[pa.Field]:
        return [COLUMN]

    def read(self, file: Path) -> Iterator[Row]:
        for _, video in read(file, decode_video):
            row = {"clip_id": video.clip_id, "labels": video.labels}
            if isinstance(video, RecordError):
                yield row | {"status": Status.FAILED, "reason": Reason.DECODE, "detail": video.detail}
                continue
            features = np.concatenate([video.rgb, video.audio])[None]
            largest = np.abs(features).max()
            if largest <= LARGEST:
                yield row | {COLUMN.name: pack(features, COLUMN)}
            else:  # or there is a NaN
                detail = f"its features hold {largest:g}, which half precision cannot"
                yield row | {"status": Status.FAILED, "reason": Reason.UNEXPECTED, "detail": detail}
