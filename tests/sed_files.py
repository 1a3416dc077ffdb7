"""Files of sound event detection for tests: a manifest and predictions."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from workflow_scripts.shards import Row, array_field, pack, write

CLASSES = ["Cat", "Dog"]
HEAD = "filename\tonset\toffset\tevent_label\n"
EVENTS = pa.list_(pa.struct([("onset", pa.float64()), ("offset", pa.float64()), ("label", pa.string())]))
MANIFEST = pa.schema(
    [("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string())), ("events", EVENTS)]
)


def manifest_of(folder: Path) -> Path:
    dog, cat = ({"onset": 0.0, "offset": 2.0, "label": label} for label in ("Dog", "Cat"))
    rows: list[Row] = [
        {"clip_id": "a", "split": "test", "events": [dog]},
        {"clip_id": "b", "split": "test", "events": []},
        {"clip_id": "c", "split": "validation", "events": [cat]},
        {"clip_id": "d", "split": "validation", "labels": ["Cat"], "events": None},
    ]
    write(folder / "manifest.parquet", rows, MANIFEST)
    return folder / "manifest.parquet"


def predictions_of(path: Path, seeds: Sequence[int], clips: str = "abcd", classes: list[str] = CLASSES) -> Path:
    """Seed 0 is right on every clip but puts out a Dog in b; the others put out nothing. Frames of 0.1 s."""
    clip, frames = array_field("clip", "float32", (2,)), array_field("frames", "float16", (30, 2))
    rows = []
    for seed in seeds:
        for name in clips:
            active = np.zeros((30, 2))
            if seed == 0:
                active[:20, CLASSES.index("Cat" if name in "cd" else "Dog")] = 0.9
            arrays = {"clip": pack(active.max(axis=0), clip), "frames": pack(active, frames)}
            split = "test" if name in "ab" else "validation"
            rows.append({"seed": seed, "clip_id": name, "split": split, "seconds": 3.0, **arrays})
    fields = [("seed", pa.int32()), ("clip_id", pa.string()), ("split", pa.string()), ("seconds", pa.float64())]
    about = {"classes": json.dumps(classes), "frame_seconds": "0.1"}
    write(path, rows, pa.schema([*(pa.field(*f) for f in fields), clip, frames], metadata=about))
    return path
