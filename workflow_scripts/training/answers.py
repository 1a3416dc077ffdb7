"""What systems answered to clips, and what is true of these, in words: for people who look at some of them."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts import shards
from workflow_scripts.parquet import parquet_schema, read_parquet
from workflow_scripts.shards import Row

WORDS = 4  # the classes, at most, that stand in an answer


def in_order(clip_ids: Iterable[str]) -> list[str]:
    """Clips in the order in which examples are chosen, that of a hash: the first few say the same wherever they are."""
    return sorted(clip_ids, key=lambda clip_id: hashlib.sha256(clip_id.encode()).digest())


def answered(path: Path) -> set[str]:
    """The clips of the split that stands last in a file of predictions, by its first seed."""
    table = read_parquet(path, ["seed", "split", "clip_id"])
    if len(table) == 0:
        return set()
    own = (pc.field("seed") == table["seed"][0]) & (pc.field("split") == table["split"][-1])
    return set(table.filter(own)["clip_id"].to_pylist())


def answers_of(path: Path, clip_ids: Collection[str]) -> dict[str, str]:
    """What the first seed in a file of predictions answered to clips."""
    names = [name for name in parquet_schema(path).names if name != "frames"]  # large, and in no answer
    table = read_parquet(path, names, among(clip_ids))
    if len(table) == 0:
        return {}
    table = table.filter(pc.field("seed") == table["seed"][0])
    return dict(zip(table["clip_id"].to_pylist(), in_words(table), strict=True))


def among(clip_ids: Collection[str]) -> pc.Expression:
    """Whether a row is of one of the clips, of which there may be none."""
    return pc.field("clip_id").isin(pa.array(list(clip_ids), pa.string()))


def truths_of(manifest: Path, clip_ids: Collection[str], names: Sequence[str] = ()) -> dict[str, list[str]]:
    """What is true of clips, of those that a manifest has; `names` are those of labels that are numbers."""
    rows = read_parquet(manifest, filters=among(clip_ids)).to_pylist()
    return {row["clip_id"]: truth_of(row, names) for row in rows}


def names_of(path: Path) -> list[str]:
    """The names of classes by their number, in predictions for a corpus whose labels are numbers; else none."""
    schema = parquet_schema(path)
    return list(json.loads(schema.metadata[b"classes"])) if "scores" in schema.names else []


def samples_of(predictions: Path, manifest: Path, most: int) -> dict[str, Any]:
    """The first clips of a file of predictions as a table, by `columns` and `data`, as MLflow reads it.

    MLflow compares the second column of several runs, where the first is the same.
    """
    chosen = in_order(answered(predictions))[:most]
    truths, answers = truths_of(manifest, chosen, names_of(predictions)), answers_of(predictions, chosen)
    rows = [[clip_id, answers[clip_id], "\n".join(truths.get(clip_id, []))] for clip_id in chosen if clip_id in answers]
    return {"columns": ["clip", "answer", "reference"], "data": rows}


def truth_of(row: Row, names: Sequence[str] = ()) -> list[str]:
    """What an annotation says of a clip, in words."""
    if row.get("captions"):
        return list(row["captions"][:2])
    if row.get("events"):
        return [f"{event['label']} {event['onset']:.1f}–{event['offset']:.1f} s" for event in row["events"]]
    return [", ".join(names[int(label)] if names else label for label in row.get("labels") or [])]


def in_words(table: pa.Table) -> list[str]:
    """Each row of a table of predictions in words; `training/outputs.py` tells the kinds."""
    names, metadata = set(table.schema.names), table.schema.metadata or {}
    if "caption" in names:
        return [caption or "(no word)" for caption in table["caption"].to_pylist()]
    if "scores" in names:
        classes = json.loads(metadata[b"classes"])
        best, scores = shards.stack(table, "classes"), shards.stack(table, "scores")
        return [listed([classes[n] for n in own], values) for own, values in zip(best[:, :WORDS], scores, strict=True)]
    if "clip" in names:
        classes = json.loads(metadata[b"classes"])
        return [
            listed([classes[n] for n in np.argsort(-row)[:WORDS]], np.sort(row)[::-1])
            for row in shards.stack(table, "clip")
        ]
    if b"heads" in metadata:
        heads: Mapping[str, Sequence[str]] = json.loads(metadata[b"heads"])
        parts = [[heads[head][n] for n in shards.stack(table, f"logits_{head}").argmax(1)] for head in heads]
        return [", ".join(row) for row in zip(*parts, strict=True)]
    classes = json.loads(metadata[b"classes"])
    return [classes[n] for n in shards.stack(table, "logits").argmax(1)]


def listed(classes: Sequence[str], scores: Sequence[float] | np.ndarray) -> str:
    """The likely classes with their scores, the first in any case."""
    kept = [f"{name} {value:.2f}" for name, value in zip(classes, scores, strict=False) if value >= 0.5]
    return ", ".join(kept) or f"none (likeliest: {classes[0]} {scores[0]:.2f})"
