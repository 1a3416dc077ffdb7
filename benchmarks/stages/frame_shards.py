"""An epoch of frame-level training data out of the feature shards, beside the reader of the records themselves.

The shards know where the records lie. The stream gives shuffled batches of the frames that a network draws, with their
labels; the readers give one example after the other, in the file's order.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import youtube8m
from benchmarks.stage import Stage, Work, agree
from benchmarks.stages.records_frames import ours as record_reader
from workflow_scripts.features.extractors.youtube8m_frames import Extractor
from workflow_scripts.models.dbof import frame_places
from workflow_scripts.training.sampling import prefetch
from workflow_scripts.training.stream import Source, Stream
from workflow_scripts.training.systems.video_tagger.data import Records, chosen_frames, packed_labels

DRAWN, BATCH = 30, 64  # frames drawn of a video, videos in a batch


def prepare(folder: Path, count: int) -> None:
    youtube8m.write_frames(folder, count)
    youtube8m.shard(Extractor(), folder / youtube8m.FILE)


def ours(folder: Path) -> Work:
    import torch

    torch.set_num_threads(1)
    shard = (folder / youtube8m.FILE).with_suffix(".parquet")
    read: Any = Records(shard)

    def decode(table: pa.Table) -> Any:
        return read(table) | {"labels": packed_labels(table, youtube8m.CLASSES)}

    source = Source("frame", [shard], [*Records.columns, "labels"], decode)
    stream = Stream([source], ["train"], cache_bytes=0)

    def epoch() -> Iterator[Any]:
        pool = max(stream.counts["train"] // 4, 1)
        for block in prefetch(stream.shuffled("train", BATCH, pool, seed=0, epoch=0)):
            valid = torch.from_numpy(block["num_frames"])
            places = frame_places(valid, torch.rand(len(valid), DRAWN))
            yield block["clip_id"], chosen_frames(block, places.numpy())

    return epoch


def same(ours: Work, theirs: Work) -> str:
    """That every clip is given once, and that its drawn frames are frames of its record."""
    records = {example.clip_id: example for example in theirs()}
    seen = []
    for clips, drawn in ours():
        for clip, frames in zip(clips, drawn, strict=True):
            seen.append(clip)
            given = {row.tobytes() for row in frames}
            both = np.hstack([records[clip].rgb, records[clip].audio])
            agree(given <= {row.tobytes() for row in both}, f"frames of '{clip}' that its record has not")
    agree(sorted(seen) == sorted(records), "not every clip is given once")
    return "every drawn frame is one of its record"


STAGE = Stage(
    place=72,
    title="frame-level training data from our shards",
    unit="examples",
    size=1000,
    prepare=prepare,
    ours=ours,
    peers={"our record reader": record_reader, "tfrecord package": youtube8m.package_frames},
    limit=("the file is read, and nothing is made of it", youtube8m.file_only),
    same=same,
    note="Ours also shuffles, makes batches with labels, and gives only 30 drawn frames of each video.",
)
