"""A toy corpus of sounds, and training classifiers on it, for tests."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import training_files
from training_files import shards_in, train_into

from workflow_scripts import shards
from workflow_scripts.settings.base import overlay
from workflow_scripts.training.job import TrainingJob

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

EVERYTHING: dict[str, Any] = {
    "model": {"perturbation": {"kind": "laplace", "scale": 0.1, "at_test": True}, "adaptor": {"weight": 0.2}},
    "augmentation": {"mixup": 0.4, "cutmix": 0.4, "erasing": 0.5, "noise": 0.1},
    "optimisation": {"epochs": 3, "label_smoothing": 0.1, "clip": 1.0},
    "validation_split": "validation",
    "report_epoch": "best",
    "checkpoint_every": 2,
}


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


def settings_of(kind: str, **changes: Any) -> dict[str, Any]:
    base = {"model": TINY[kind], "optimisation": OPTIMISATION, "augmentation": AUGMENTATION, "record_every": 3}
    return overlay(base, changes)


def reductions_of(corpus: Path, labels: str = "single") -> dict[str, Path]:
    return {"toy_statistics": corpus / "statistics.json", "toy_classes": corpus / f"{labels}_classes.json"}


def job_of(
    corpus: Path, folder: Path, kind: str, seeds: list[int], labels: str = "single", **changes: Any
) -> TrainingJob:
    given = {
        "manifest": corpus / f"{labels}.parquet",
        "features": {"fbank": shards_in(corpus / "fbank")},
        "reductions": reductions_of(corpus, labels),
        "clip_seconds": 4.0,
        "seeds": seeds,
        "checkpoints": folder / "checkpoints",
    }
    return training_files.job_of("audio_classifier", settings_of(kind), given, changes)


def train(corpus: Path, folder: Path, kind: str, seeds: list[int], **changes: Any) -> dict[str, Any]:
    return train_into(folder, job_of(corpus, folder, kind, seeds, **changes))


def accuracy(folder: Path, corpus: Path, labels: str = "single") -> float:
    """The share of the predicted clips of which all heads are right, from the files alone."""
    true = {row["clip_id"]: set(row["labels"]) for row in shards.read(corpus / f"{labels}.parquet")}
    table = pq.read_table(folder / "predictions.parquet")
    found: list[set[str]] = [set() for _ in range(len(table))]
    for head, classes in json.loads(table.schema.metadata[b"heads"]).items():
        for names, best in zip(found, shards.stack(table, f"logits_{head}").argmax(1), strict=True):
            names.add(classes[best] if head == "class" else f"{head}:{classes[best]}")
    ids = table["clip_id"].to_pylist()
    return float(np.mean([true[clip_id] == names for clip_id, names in zip(ids, found, strict=True)]))
