"""A toy corpus of sounds, and training classifiers on it, for tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from training_files import train_into
from workflow_scripts.training.data import Inputs

from workflow_scripts import shards
from workflow_scripts.settings.base import overlay
from workflow_scripts.training.systems.audio_classifier import System

FRAMES, BINS = 32, 32
SPLITS = {"train": 97, "validation": 20, "test": 30, "unused": 5}
VERBS, NOUNS = ["0", "1"], ["2", "10"]
TINY: dict[str, dict[str, Any]] = {
    "datar": {
        "kind": "datar",
        "size": {"dims": [8, 16], "depths": [1, 2], "heads": [2, 2], "groups": [2]},
        "window": [4, 4],
        "offset_kernel": [3],
        "drop_path": 0.1,
    },
    "ast": {"kind": "ast", "dims": 16, "depth": 1, "attention_heads": 2, "patch": 16, "stride": 8},
    "resnet": {"kind": "resnet", "depth": 10, "width": 4},
    "slowfast": {
        **{"kind": "slowfast", "view_frames": 32, "test_views": 1, "depths": [1, 1, 1, 1]},
        **{"width": 8, "beta": 2, "dropout": 0},
    },
    "tbn": {
        **{"kind": "tbn", "segment_frames": 32, "train_segments": 1, "test_segments": 1, "width": 0.1},
        **{"modules": ["3a"], "dropout": 0},
    },
}
OPTIMISATION = {"batch": 16, "epochs": 2, "learning_rate": 3e-3, "shuffle_rows": 64}
AUGMENTATION = {"freq_mask": 4, "time_mask": 4, "mask_value": "mean"}


def write_manifest(path: Path, labels: dict[str, list[str]], rows: list[dict[str, Any]]) -> None:
    columns = [("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string()))]
    kept = [{"clip_id": row["clip_id"], "split": row["split"], "labels": labels[row["clip_id"]]} for row in rows]
    shards.write(path, kept, pa.schema(columns))


def write_corpus(folder: Path) -> Path:
    """Whether the first or the second half of a clip is loud is its verb, whether its low or high half its noun."""
    rng = np.random.default_rng(0)
    field = shards.array_field("features", "float16", (FRAMES, BINS))
    schema = pa.schema([pa.field("clip_id", pa.string()), pa.field("seconds", pa.float64()), field, *shards.STATE])
    rows: list[dict[str, Any]] = []
    single: dict[str, list[str]] = {}
    double: dict[str, list[str]] = {}
    for split, count in SPLITS.items():
        for number in range(count):
            clip_id = f"{split}-{number}"
            verb, noun = (int(value) for value in rng.integers(0, 2, 2))
            features = rng.normal(-6, 1, (FRAMES, BINS))
            half, low = slice(verb * 16, verb * 16 + 16), slice(noun * 16, noun * 16 + 16)
            features[half, low] += 3
            ok = (split, number) != ("train", 3)
            state = {"status": "ok" if ok else "failed", "reason": None if ok else "silent"}
            packed = shards.pack(features, field) if ok else None
            rows.append({"clip_id": clip_id, "split": split, "seconds": 4.0, "features": packed, **state})
            single[clip_id] = [f"a: {verb}{noun}"]
            double[clip_id] = [f"noun:{NOUNS[noun]}", f"verb:{VERBS[verb]}"]
    for part in range(3):
        mine = [row for row in rows if shards.shard_of(row["clip_id"], 3) == part]
        shards.write(folder / f"fbank/{part}.parquet", mine, schema, rows_a_group=16)
    write_manifest(folder / "single.parquet", single, rows)
    write_manifest(folder / "double.parquet", double, rows)
    heads = {"single": {"class": ["a: 00", "a: 01", "a: 10", "a: 11"]}, "double": {"verb": VERBS, "noun": NOUNS}}
    for name, classes in heads.items():
        (folder / f"{name}_classes.json").write_text(json.dumps({"heads": classes}))
    (folder / "statistics.json").write_text(json.dumps({"mean": -5.25, "std": 1.64}))
    return folder


def inputs_of(corpus: Path, manifest: str = "single", **changes: Any) -> Inputs:
    given: dict[str, Any] = {
        "manifest": corpus / f"{manifest}.parquet",
        "features": {"fbank": sorted((corpus / "fbank").glob("*.parquet"))},
        "reductions": {
            "toy_statistics": corpus / "statistics.json",
            "toy_classes": corpus / f"{manifest}_classes.json",
        },
    }
    return Inputs(clip_seconds=4.0, **(given | changes))


def settings_of(kind: str, **changes: Any) -> dict[str, Any]:
    base = {"model": TINY[kind], "optimisation": OPTIMISATION, "augmentation": AUGMENTATION, "record_every": 3}
    return overlay(base, changes)


def train(corpus: Path, folder: Path, kind: str, seeds: list[int], **changes: Any) -> dict[str, Any]:
    """Trains on the toy corpus inside this process; returns the facts."""
    given = {name: changes.pop(name) for name in ("manifest", "features", "reductions", "uses") if name in changes}
    place = {name: changes.pop(name) for name in ("device", "precision") if name in changes}
    system = System.check(settings_of(kind, **changes), "toy")
    return train_into(folder, system, inputs_of(corpus, **given), seeds, **place)


def accuracy(folder: Path, corpus: Path, manifest: str = "single") -> float:
    """The share of the predicted clips of which all heads are right, from the files alone."""
    labels = {row["clip_id"]: set(row["labels"]) for row in shards.read(corpus / f"{manifest}.parquet")}
    table = pq.read_table(folder / "predictions.parquet")
    found: list[set[str]] = [set() for _ in range(len(table))]
    for head, classes in json.loads(table.schema.metadata[b"heads"]).items():
        for names, best in zip(found, shards.stack(table, f"logits_{head}").argmax(1), strict=True):
            names.add(classes[best] if head == "class" else f"{head}:{classes[best]}")
    ids = table["clip_id"].to_pylist()
    return float(np.mean([labels[clip_id] == names for clip_id, names in zip(ids, found, strict=True)]))
