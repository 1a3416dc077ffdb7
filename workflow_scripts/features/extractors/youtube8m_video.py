"""YouTube-8M's features of whole videos, as published."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from workflow_scripts.features.interface import RecordExtractor
from workflow_scripts.formats.youtube8m import AUDIO, RGB, read_videos
from workflow_scripts.shards import Reason, Row, Status, array_field, pack

LARGEST = float(np.finfo(np.float16).max)
COLUMN = array_field("features", "float16", (1, RGB + AUDIO))


class Extractor(RecordExtractor):
    """The means over time of the image's 1024 features and of the sound's 128."""

    level = "video"

    def columns(self) -> list[pa.Field]:
        return [COLUMN]

    def read(self, file: Path) -> Iterator[Row]:
        for video in read_videos(file):
            features = np.concatenate([video.rgb, video.audio])[None]
            row = {"clip_id": video.clip_id, "labels": video.labels}
            largest = np.abs(features).max()
            if largest <= LARGEST:
                yield row | {COLUMN.name: pack(features, COLUMN)}
            else:  # or there is a NaN
                detail = f"its features hold {largest:g}, which half precision cannot"
                yield row | {"status": Status.FAILED, "reason": Reason.UNEXPECTED, "detail": detail}
