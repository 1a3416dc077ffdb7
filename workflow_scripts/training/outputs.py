"""The files of a finished training job."""

import importlib.metadata
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from workflow_scripts import shards
from workflow_scripts.errors import UserError
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


def heads_schema(heads: Mapping[str, Sequence[str]]) -> pa.Schema:
    """Rows of `predictions.parquet`: a clip's logits under one seed, `logits_<head>` for each head.

    The metadata states the classes of the `heads` (JSON).
    """
    logits = [shards.array_field(f"logits_{head}", "float32", [len(classes)]) for head, classes in heads.items()]
    return pa.schema([*CLIP, *logits], metadata={"heads": json.dumps({head: list(c) for head, c in heads.items()})})


def ranking_schema(classes: Sequence[str], k: int) -> pa.Schema:
    """Rows of `predictions.parquet`: a clip's `k` likeliest classes (numbers) under one seed and their scores.

    The metadata states the names of all `classes` (JSON).
    """
    lists = [shards.array_field("classes", "int32", [k]), shards.array_field("scores", "float32", [k])]
    return pa.schema([*CLIP, *lists], metadata={"classes": json.dumps(list(classes))})


def caption_schema() -> pa.Schema:
    """Rows of `predictions.parquet`: a clip's caption under one seed, in lower case; it may be empty."""
    return pa.schema([*CLIP, pa.field("caption", pa.string(), nullable=False)])


def ranking(scores: "np.ndarray | torch.Tensor", k: int) -> tuple[np.ndarray, np.ndarray]:
    """The classes (clips, k) int32 of the k highest scores of every clip and these scores, float32, the highest first.

    `scores` are (clips, classes); at equal scores the class with the lower number stands first, and is kept first.
    """
    import torch

    values = torch.as_tensor(scores).float()
    classes = values.topk(k, dim=1).indices.sort(dim=1).values
    best, order = values.gather(1, classes).sort(dim=1, descending=True, stable=True)
    classes = classes.gather(1, order)
    doubtful = (values >= best[:, -1:]).sum(1) > k  # equal scores on both sides of the list's end
    if doubtful.any():
        classes[doubtful] = values[doubtful].sort(dim=1, descending=True, stable=True).indices[:, :k]
    return classes.int().cpu().numpy(), best.cpu().numpy()


def ranked_lists(scores: "np.ndarray | torch.Tensor", schema: pa.Schema) -> Iterator[Row]:
    """The `ranking` of every clip as the `classes` and `scores` of its row under a `ranking_schema`."""
    classes, values = schema.field("classes"), schema.field("scores")
    _, (k,) = shards.array_spec(classes)
    for numbers, best in zip(*ranking(scores, k), strict=True):
        yield {"classes": shards.pack(numbers, classes), "scores": shards.pack(best, values)}


def write_history(path: Path, records: Iterable[Row]) -> None:
    """Rows of `history.parquet`: `seed`, `step`, and every quantity recorded at that step (null where it was not)."""
    rows = list(records)
    numbers = sorted({key for row in rows for key in row} - {"seed", "step"})
    fields = [pa.field("seed", pa.int32(), nullable=False), pa.field("step", pa.int64(), nullable=False)]
    shards.write(path, rows, pa.schema(fields + [pa.field(name, pa.float64()) for name in numbers]), rows_a_group=65536)


def write_weights(path: Path, models: Mapping[int, "torch.nn.Module"]) -> None:
    """`weights.safetensors`: the weights of the model of each seed, named `<seed>/<parameter>`.

    Weights that a model has under several names are written once, under the first.
    """
    from safetensors.torch import save_file

    weights: dict[str, torch.Tensor] = {}
    for seed, model in models.items():
        own: dict[tuple[int, torch.Size], str] = {}
        for key, value in model.state_dict().items():
            if not value.numel() or own.setdefault((value.data_ptr(), value.shape), key) == key:
                weights[f"{seed}/{key}"] = value
    with shards.atomic(path) as temporary:
        save_file(weights, temporary)


def read_weights(folder: Path, seed: int) -> "dict[str, torch.Tensor]":
    """The weights that one seed of an experiment ended with, from its training folder."""
    from safetensors import safe_open

    known: set[str] = set()
    for path in sorted(folder.glob("seeds-*/weights.safetensors")):
        with safe_open(path, framework="pt") as file:
            seeds = {name: name.partition("/") for name in file.keys()}  # noqa: SIM118 - not a mapping
            known |= {number for number, _, _ in seeds.values()}
            if str(seed) in known:
                wanted = {name: own for name, (number, _, own) in seeds.items() if number == str(seed)}
                return {own: file.get_tensor(name) for name, own in wanted.items()}
    trained = ", ".join(sorted(known, key=int)) or "none"
    raise UserError(f"{folder}: seed {seed} was not trained (those that were: {trained})")


def write_params(path: Path, params: Mapping[str, Any]) -> None:
    """`params.json`: what defined a run, what it used, and the versions of the libraries that it ran with."""
    names = ("torch", "numpy", "pyarrow", "safetensors")
    versions = {name: importlib.metadata.version(name) for name in names}
    with shards.atomic(path) as temporary:
        temporary.write_text(json.dumps({**params, "versions": versions}, indent=2) + "\n", encoding="utf-8")
