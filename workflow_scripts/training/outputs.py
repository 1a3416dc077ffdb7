"""The files of a finished training job."""

import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from workflow_scripts import shards
from workflow_scripts.shards import Row

if TYPE_CHECKING:
    import torch

CLIP = [
    pa.field("seed", pa.int32(), nullable=False),
    pa.field("clip_id", pa.string(), nullable=False),
    pa.field("split", pa.string(), nullable=False),
    pa.field("seconds", pa.float64()),
]


def prediction_schema(classes: Sequence[str], frames: int, frame_seconds: float) -> pa.Schema:
    """Rows of `predictions.parquet`: a clip's probabilities under one seed, for the clip and for each frame.

    The metadata states the `classes` (JSON) and the `frame_seconds` between the starts of two frames.
    """
    clip = shards.array_field("clip", "float32", [len(classes)])
    by_frame = shards.array_field("frames", "float16", [frames, len(classes)])
    metadata = {"classes": json.dumps(list(classes)), "frame_seconds": repr(frame_seconds)}
    return pa.schema([*CLIP, clip, by_frame], metadata=metadata)


def logit_schema(classes: Sequence[str]) -> pa.Schema:
    """Rows of `predictions.parquet`: a clip's logits under one seed; the metadata states the `classes` (JSON)."""
    logits = shards.array_field("logits", "float32", [len(classes)])
    return pa.schema([*CLIP, logits], metadata={"classes": json.dumps(list(classes))})


def write_history(path: Path, records: Iterable[Row]) -> None:
    """Rows of `history.parquet`: `seed`, `step`, and every quantity recorded at that step (null where it was not)."""
    rows = list(records)
    numbers = sorted({key for row in rows for key in row} - {"seed", "step"})
    fields = [pa.field("seed", pa.int32(), nullable=False), pa.field("step", pa.int64(), nullable=False)]
    shards.write(path, rows, pa.schema(fields + [pa.field(name, pa.float64()) for name in numbers]), rows_a_group=65536)


def write_weights(path: Path, models: Mapping[int, "torch.nn.Module"]) -> None:
    """`weights.safetensors`: the weights of the model of each seed, named `<seed>/<parameter>`."""
    from safetensors.torch import save_file

    weights = {f"{seed}/{key}": value for seed, model in models.items() for key, value in model.state_dict().items()}
    with shards.atomic(path) as temporary:
        save_file(weights, temporary)


def write_params(path: Path, params: Mapping[str, Any]) -> None:
    """`params.json`: what defined a run, what it used, and the versions of the libraries that it ran with."""
    names = ("torch", "numpy", "pyarrow", "safetensors")
    versions = {name: importlib.metadata.version(name) for name in names}
    with shards.atomic(path) as temporary:
        temporary.write_text(json.dumps({**params, "versions": versions}, indent=2) + "\n", encoding="utf-8")
