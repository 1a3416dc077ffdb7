"""A toy corpus of captioned clips, and training on it, for tests.

Two of three sounds follow each other in a clip: each is a pair of features that is loud in one half.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import training_files
from training_files import shards_in, train_into

from workflow_scripts import shards
from workflow_scripts.captions.rewrite import SCHEMA
from workflow_scripts.corpora.annotate import MANIFEST
from workflow_scripts.settings.base import overlay
from workflow_scripts.training.job import TrainingJob

FRAMES, DIMS, SECONDS = 12, 8, 6.0
SPLITS = {"train": 65, "validation": 12, "test": 16}
SOUNDS = ("a dog barks", "the bell rings", "water flows")
ENCODER = {"kind": "features"}
TINY: dict[str, dict[str, Any]] = {
    "bart": {
        **{"kind": "bart", "dims": 16, "layers": 1, "heads": 2, "hidden": 32, "longest": 32, "init_std": 0.2},
        **{"dropout": 0.1, "attention_dropout": 0},
    },
    "gru": {"kind": "gru", "hidden": 16, "layers": 1, "width": 16, "decoder_layers": 1, "heads": 2, "dropout": 0.1},
    "gru-gru": {"kind": "gru", "decoder": "gru", "hidden": 16, "layers": 1, "width": 32, "dropout": 0.1},
    "transformer": {
        "kind": "transformer",
        "width": 16,
        "layers": 1,
        "heads": 2,
        "hidden": 32,
        "encoder_width": 32,
        "dropout": 0.1,
    },
}
ALIGNMENT: dict[str, Any] = {"negatives": {"k": 3}}
EVERYTHING: dict[str, Any] = {  # that has a state
    "alignment": ALIGNMENT,
    "optimisation": {
        **{"epochs": 3, "average_from": 2, "teacher_forcing_at_end": 0.5, "label_smoothing": 0.1},
        "schedule": {"kind": "exponential", "warm_up": 5, "final": 1e-3},
    },
}
OPTIMISATION = {"batch": 16, "epochs": 2, "learning_rate": 1e-2, "shuffle_rows": 64}


def write_corpus(folder: Path) -> Path:
    """Manifest, features in three shards, and temporal captions beside them, which the captions hold exactly."""
    rng = np.random.default_rng(0)
    field = shards.array_field("features", "float16", (FRAMES, DIMS))
    schema = pa.schema([pa.field("clip_id", pa.string()), pa.field("seconds", pa.float64()), field, *shards.STATE])
    rows: list[dict[str, Any]] = []
    clips: list[dict[str, Any]] = []
    temporal: list[dict[str, Any]] = []
    for split, count in SPLITS.items():
        for number in range(count):
            first, second = rng.permutation(3)[:2]
            clip_id, seconds = f"{split}-{number}", (6.0, 5.0)[number % 2]
            values = rng.normal(0, 0.3, (FRAMES, DIMS))
            values[:5, 2 * first : 2 * first + 2] += 2
            values[5:10, 2 * second : 2 * second + 2] += 2
            ok = clip_id != "train-3"
            state = {"status": "ok" if ok else "failed", "reason": None if ok else "silent"}
            rows.append({"clip_id": clip_id, "seconds": seconds, **state})
            rows[-1]["features"] = shards.pack(values, field) if ok else None
            one, two = SOUNDS[first], SOUNDS[second]
            said = [f"{one.capitalize()}, then {two}.", f"First {one} and then {two}.", f"After {one}, {two}!"]
            base = {"clip_id": clip_id, "status": "ok"}
            clips.append({**base, "link": "", "start": 0.0, "split": split, "captions": said})
            rewritten = {"temporal": f"{one}: 1; {two}: 2", "source": "rules", "events": 2, "orders": 2}
            temporal += [
                {**base, "caption_index": place, "caption": caption, **rewritten}
                for place, caption in enumerate(said)
                if split == "train"
            ]
    shards.write(folder / "manifest.parquet", clips, MANIFEST)
    for part in range(3):
        mine = [row for row in rows if shards.shard_of(row["clip_id"], 3) == part]
        shards.write(folder / f"map/{part}.parquet", mine, schema, rows_a_group=16)
        mine = [row for row in temporal if shards.shard_of(row["clip_id"], 3) == part]
        shards.write(folder / f"temporal/{part}.parquet", mine, SCHEMA)
    return folder


def settings_of(kind: str = "bart", **changes: Any) -> dict[str, Any]:
    base = {"encoder": ENCODER, "captioner": TINY[kind], "optimisation": OPTIMISATION, "record_every": 3}
    return overlay(base | {"search": {"max_length": 20}}, changes)


def features_of(corpus: Path) -> dict[str, list[Path]]:
    return {"toy_map": shards_in(corpus / "map"), "toy_temporal": shards_in(corpus / "temporal")}


def job_of(corpus: Path, folder: Path, kind: str, seeds: list[int], **changes: Any) -> TrainingJob:
    given = {
        "manifest": corpus / "manifest.parquet",
        "features": features_of(corpus),
        "clip_seconds": SECONDS,
        "seeds": seeds,
        "checkpoints": folder / "checkpoints",
    }
    return training_files.job_of("captioner", settings_of(kind), given, changes)


def train(corpus: Path, folder: Path, kind: str, seeds: list[int], **changes: Any) -> dict[str, Any]:
    return train_into(folder, job_of(corpus, folder, kind, seeds, **changes))
