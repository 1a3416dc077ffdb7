"""The files of a finished training job."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.files import ANEW, parse_json, read_json
from workflow_scripts.shards import Row
from workflow_scripts.training.fitting import Fit
from workflow_scripts.training.job import TrainingJob

if TYPE_CHECKING:
    import torch

KEPT = "kept"  # in the metadata of the weights: what predicting needs beside them
GROWING = "growing-*.parquet"  # beside the results to come: what histories hold already
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


def write_results(folder: Path, job: TrainingJob, fits: Sequence[Fit]) -> None:
    """The four files of a job: predictions.parquet, history.parquet, weights.safetensors and params.json."""
    from safetensors.numpy import save_file

    predictions = ({"seed": fit.seed, **row} for fit in fits for row in fit.predict())
    shards.write(folder / "predictions.parquet", predictions, fits[0].schema, rows_a_group=1024)
    write_history(folder / "history.parquet", ({"seed": fit.seed, **row} for fit in fits for row in fit.history))
    with shards.atomic(folder / "weights.safetensors") as temporary:
        weights = {str(fit.seed): fit.weights() for fit in fits}
        told = {seed: weights_digest(own) for seed, own in weights.items()} | {KEPT: json.dumps(fits[0].kept())}
        save_file(
            {f"{seed}/{name}": value for seed, own in weights.items() for name, value in own.items()},
            temporary,
            told,
        )
    measures = {name: {str(fit.seed): fit.measures()[name] for fit in fits} for name in fits[0].measures()}
    means = job.model_dump(mode="json", include={"device", "processes", "precision", "matmul_precision", "threads"})
    run = {"system": job.system, "definition": job.settings.model_dump(mode="json"), "seeds": job.seeds}
    names = ("torch", "numpy", "pyarrow", "safetensors")
    versions = {name: importlib.metadata.version(name) for name in names}
    with shards.atomic(folder / "params.json") as temporary:
        params = {**run, **means, **fits[0].facts(), **measures, "versions": versions}
        temporary.write_text(json.dumps(params, indent=2) + "\n", encoding="utf-8")


def write_history(path: Path, records: Iterable[Row]) -> None:
    """Rows of `history.parquet`: `seed`, `step`, and every quantity recorded at that step (null where it was not)."""
    rows = list(records)
    numbers = sorted({key for row in rows for key in row} - {"seed", "step"})
    fields = [pa.field("seed", pa.int32(), nullable=False), pa.field("step", pa.int64(), nullable=False)]
    shards.write(path, rows, pa.schema(fields + [pa.field(name, pa.float64()) for name in numbers]), rows_a_group=65536)


def growing_history(folder: Path, seed: int, run: str) -> Path:
    """Where the history of a run lies while it learns; a seed may have several runs, the folds of the clips."""
    return folder / GROWING.replace("*", f"{seed}-{run}")


def growing_histories(folder: Path) -> dict[int, list[Path]]:
    """The histories that grow in a folder, by seed."""
    found: dict[int, list[Path]] = {}
    for path in sorted(folder.glob(GROWING)):
        found.setdefault(int(path.stem.split("-")[1]), []).append(path)
    return found


def forget_growing(folder: Path) -> None:
    """Removes them."""
    for path in folder.glob(GROWING):
        path.unlink(missing_ok=True)


def folder_of_seed(files: Sequence[Path], seed: int) -> Path:
    """The folder of the job that trained a seed, by what the jobs of an experiment have written."""
    folders = {n: folder for folder in {file.parent for file in files} for n in read_params(folder)["seeds"]}
    if seed not in folders:
        trained = ", ".join(map(str, sorted(folders))) or "none"
        raise UserError(f"{files[0].parent.parent}: seed {seed} was not trained (those that were: {trained})")
    return folders[seed]


def first_weights(files: Sequence[Path], seed: int) -> "dict[str, torch.Tensor]":
    """The weights of another experiment that a seed starts from: those of the same seed, or of the only one."""
    trained = sorted({n for folder in {file.parent for file in files} for n in read_params(folder)["seeds"]})
    same = trained[0] if len(trained) == 1 else seed
    return read_weights(folder_of_seed(files, same), same)


def read_params(folder: Path) -> dict[str, Any]:
    """What defined the job that wrote to a folder, and what it reported."""
    params: dict[str, Any] = read_json(folder / "params.json")
    return params


def read_weights(folder: Path, seed: int) -> "dict[str, torch.Tensor]":
    """The weights that one seed ended with, from the folder of its job; a damaged file is a `UserError`."""
    from safetensors import SafetensorError, safe_open

    path = folder / "weights.safetensors"
    try:
        with safe_open(path, framework="pt") as file:
            names = [name.partition("/") for name in file.keys()]  # noqa: SIM118 - not a mapping
            found = {own: file.get_tensor(f"{number}/{own}") for number, _, own in names if number == str(seed)}
            stated = (file.metadata() or {}).get(str(seed))  # files of older runs state none
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable file of weights ({error}); {ANEW}") from None
    if stated is not None and stated != weights_digest({name: values.numpy() for name, values in found.items()}):
        raise UserError(f"{path}: the weights of seed {seed} are damaged; {ANEW}")
    return found


def read_kept(folder: Path) -> dict[str, Any]:
    """What training kept for predicting; nothing in folders of older runs."""
    from safetensors import SafetensorError, safe_open

    path = folder / "weights.safetensors"
    try:
        with safe_open(path, framework="np") as file:
            stated = (file.metadata() or {}).get(KEPT, "{}")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: not a readable file of weights ({error}); {ANEW}") from None
    kept: dict[str, Any] = parse_json(stated, f"{path}: {KEPT}", f"; {ANEW}")
    return kept


def weights_digest(weights: Mapping[str, np.ndarray]) -> str:
    """A hash of named weights, in any order."""
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        total.update(name.encode())
        total.update(np.ascontiguousarray(weights[name]).data)
    return total.hexdigest()
