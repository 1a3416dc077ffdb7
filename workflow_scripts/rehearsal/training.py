"""What training needs: its operations counted, and true steps of the full-size network for memory and, on a GPU, speed.

Without a GPU a step has few of the batch's clips, and a second one twice as many: what differs is a clip's memory.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from workflow_scripts.corpora.interface import INVENTED
from workflow_scripts.errors import UserError
from workflow_scripts.features.plan import ReduceFeatures
from workflow_scripts.rehearsal.estimate import Estimate, Spent
from workflow_scripts.rehearsal.measure import measured
from workflow_scripts.rehearsal.payloads import captions_a_clip, manifest, shard
from workflow_scripts.rehearsal.plan import Part
from workflow_scripts.settings.base import digest
from workflow_scripts.settings.rehearsal import Rehearsal
from workflow_scripts.shards import array_field, pack, write
from workflow_scripts.training import costs
from workflow_scripts.training.job import TrainingJob

FILES = ("predictions.parquet", "history.parquet", "weights.safetensors", "params.json")
HELD_OUT = 2  # clips of each split that is not learned from
STEPS_ON_GPU = 30
FORWARD = 1 / 3  # of a step's operations; the other two thirds are the way back


class NotRehearsedError(Exception):
    """The training of this system is not rehearsed."""


def batch_of(settings: Any) -> int:
    """Clips in a batch."""
    if not hasattr(settings, "optimisation"):
        raise NotRehearsedError("it learns without steps")
    batch = settings.optimisation.batch
    return sum(batch.values()) if isinstance(batch, dict) else int(batch)


def shrunk(settings: Any, batch: int) -> Any:
    """The settings of one epoch of batches of so many clips, from random weights."""
    steps, own = settings.optimisation, {}
    few: dict[str, Any] = {"epochs": 1, "max_epochs": 1, "steps": 1, "average_from": None, "stop_below": None}
    few["batch"] = (
        {name: max(batch // len(steps.batch), 1) for name in steps.batch} if isinstance(steps.batch, dict) else batch
    )
    own["optimisation"] = steps.model_copy(update=known(steps, few))
    for name in ("model", "encoder", "captioner"):
        if (found := getattr(settings, name, None)) is not None:
            unread = {"checkpoint": None, "pretrained": None, "word_vectors": None}
            own[name] = found.model_copy(update=known(found, unread))
    own |= known(settings, {"train_captions": "first", "select_by": "last", "validate_every": 1})
    if hasattr(settings, "train_captions") or hasattr(settings, "augmentation"):  # others need such a split
        own["validation_split"] = None
    return settings.model_copy(update=own)


def known(settings: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The values of settings that are there."""
    return {name: value for name, value in values.items() if hasattr(settings, name)}


def learned(part: Part, settings: Any) -> float:
    """How many clips a seed learns from, one passed twice counting twice; those that are looked at count a third."""
    steps = settings.optimisation
    if hasattr(steps, "steps"):
        return float(steps.steps * batch_of(settings))
    epochs = getattr(steps, "epochs", None) or steps.max_epochs
    each = captions_a_clip(part.reader) if getattr(settings, "train_captions", "") == "all" else 1
    watched = part.counts.get(getattr(settings, "validation_split", None) or "", 0)
    looked = watched * epochs / getattr(settings, "validate_every", 1)
    looked += sum(part.counts.get(split, 0) for split in part.splits)
    return part.items * each * epochs + looked * FORWARD


def key(part: Part) -> str:
    """The same for parts whose steps are the same: of other seeds, epochs or numbers of clips."""
    job = part.example
    if not isinstance(job, TrainingJob):
        raise NotRehearsedError("no job")
    settings = shrunk(job.settings, batch_of(job.settings))
    read = sorted(need.example.digest() for need in part.needs.values() if need.example and need.stage == "features")
    return digest([job.model_copy(update={"settings": settings, "seeds": [0]}).digest(), read, list(job.uses)])


def runs(part: Part, folder: Path, left: Callable[[], float]) -> list[Spent]:
    """Steps of the part's network: two of a few clips each, or on a GPU some of the paper's batch; none: no time."""
    job = part.example
    if not isinstance(job, TrainingJob):
        return []
    batch, cuda = batch_of(job.settings), on_gpu(job)
    sizes = [batch] if cuda else [max(2, batch // 16), 2 * max(2, batch // 16)]
    found = [run(job, part, size, folder / str(size), left(), cuda) for size in sizes]
    return [] if None in found else [spent for spent in found if spent is not None]


def estimate(part: Part, rehearsal: Rehearsal, found: Sequence[Spent]) -> Estimate:
    """What a part that trains needs, from the steps of its network."""
    job = part.example
    if not isinstance(job, TrainingJob):
        return Estimate("unknown")
    batch, clips, memory = batch_of(job.settings), learned(part, job.settings), None
    if len(found) == 1:
        hours, memory = clips / found[0].speed / 3600, found[0].gpu_mb
        how, note = "extrapolated", f"{found[0].speed:.0f} clips a second in {job.precision} at batch {batch}"
    else:
        macs = costs.macs_a_clip(job, {name: need.example for name, need in part.needs.items()}, part.reader)
        hours = 2 * macs * clips / (rehearsal.card_tflops * 1e12) / 3600
        how, note = "counted", f"{macs / 1e9:.3g}e9 multiply-accumulates a clip and step"
    if len(found) == 2:
        few, many = found
        each = max(many.memory_mb - few.memory_mb, 0) / (many.size - few.size)
        memory = many.memory_mb + each * (batch - many.size)
        note += f"; memory from steps of {few.size} and {many.size} clips"
    return Estimate(how, note, minutes=60 * hours * len(job.seeds), gpu_hours=hours * part.seeds, gpu_mb=memory)


def on_gpu(job: TrainingJob) -> bool:
    """Whether a step runs on a GPU here."""
    import torch

    return job.device != "cpu" and torch.cuda.is_available()


def run(job: TrainingJob, part: Part, size: int, folder: Path, left: float, cuda: bool) -> Spent | None:
    """One step of `size` clips, or some on a GPU; None when time is up."""
    if left <= 0:
        return None
    small = payload(job, part, size, size * STEPS_ON_GPU if cuda else size, folder, left)
    outputs = [folder / name for name in FILES]
    spent = measured(small, outputs, size, folder, left)
    if spent is None or not cuda:
        return spent
    speeds = json.loads(outputs[-1].read_text())["examples_per_second"].values()
    return Spent(**{**vars(spent), "speed": float(np.mean(list(speeds)))})


def payload(job: TrainingJob, part: Part, batch: int, clips: int, folder: Path, left: float) -> TrainingJob:
    """The job for one seed and one epoch of `clips`, with features, reductions and used experiments of true form."""
    settings = shrunk(job.settings, batch)
    counts = splits(settings, part, clips)
    found: dict[str, Any] = {"features": {}, "reductions": {}, "uses": {}}
    path = manifest(part.reader, counts, folder / "manifest.parquet")
    for name in job.features:
        file = shard(part.needs[name].example, part.reader, counts, folder / f"{name}.parquet")
        found["features"][name] = [file]
    for name in job.reductions:
        reducing = part.needs[name].example
        if not isinstance(reducing, ReduceFeatures):
            raise UserError(f"papers/{part.paper}: {name} is no reduction")
        found["reductions"][name] = reduced(reducing, name, path, found["features"], folder)
    for role in job.uses:
        if role in ("initial", "pretrained"):  # weights to start from, which change nothing of what it costs
            continue
        other = part.needs[role]
        if not isinstance(other.example, TrainingJob):
            raise NotRehearsedError(f"nothing is known of '{role}'")
        inner = folder / role
        used = payload(other.example, other, batch_of(shrunk(other.example.settings, 2)), 2, inner, left)
        if measured(used, [inner / file for file in FILES], 2, inner, left) is None:
            raise NotRehearsedError(f"'{role}' could not be trained")
        found["uses"][role] = [inner / file for file in FILES]
    device = "auto" if on_gpu(job) else "cpu"
    alone = {"seeds": [0], "device": device, "processes": 1, "nodes": 1, "threads": 1}
    return job.model_copy(
        update={
            "settings": settings,
            "manifest": path,
            "assets": {},
            "checkpoints": folder / "checkpoints",
            **found,
            **alone,
        }
    )


def splits(settings: Any, part: Part, clips: int) -> dict[str, int]:
    """How many clips there are of each split."""
    batch = settings.optimisation.batch
    own = list(batch) if isinstance(batch, dict) else [settings.train_split]
    return {split: max(clips // len(own), 1) if split in own else HELD_OUT for split in part.counts}


def reduced(job: ReduceFeatures, name: str, rows: Path, features: Mapping[str, list[Path]], folder: Path) -> Path:
    """The file of a reduction, by its own code; a lexicon of a few words, without published vectors, by ours."""
    path = folder / f"{name}{job.settings.suffix}"
    if job.reducer == "lexicon":
        random, vector = np.random.default_rng(0), array_field("vector", "float16", (300,))
        fields = [pa.field("word", pa.string()), pa.field("cluster", pa.int32()), vector]
        clusters = int(job.settings.model_dump()["clusters"])
        found = (
            {"word": word, "cluster": int(random.integers(clusters)), "vector": pack(random.random(300), vector)}
            for word in INVENTED
        )
        write(path, found, pa.schema(fields, metadata={"clusters": str(clusters)}))
        return path
    files = next(iter(features.values()))
    job.model_copy(update={"features": files, "manifest": rows}).run(path)
    return path
