"""What DATAR's input adaptor does, told by validation accuracy: without it, or with one that adds nothing, it is lower.

The trunk here sees each patch alone, and counts them. Two clicks lie one patch or two patches apart, which only a
filter over several patches before it can tell: the adaptor.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts import shards

FRAMES, BINS, PATCH = 64, 4, 4
CLASSES = ["one patch apart", "two patches apart"]
CLIPS = {"train": 256, "validation": 128}
MODEL = {
    "kind": "datar",
    "size": {"dims": [16], "depths": [1], "heads": [1], "groups": []},
    "window": [1, 1],
    "offset_kernel": [],
    "drop_path": 0,
}


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of two clicks in noise, at any time."""
    folder, rng = tmp_path_factory.mktemp("clicks"), np.random.default_rng(0)
    field = shards.array_field("features", "float16", (FRAMES, BINS))
    clips, rows = [], []
    for split, count in CLIPS.items():
        for number in range(count):
            kind, name = number % 2, f"{split}{number}"
            values = rng.normal(0, 0.1, (FRAMES, BINS))
            first = rng.integers(2 * PATCH, FRAMES - 4 * PATCH)
            values[[first, first + PATCH * (1 + kind)]] += 3
            packed = shards.pack(values.astype(np.float16), field)
            clips.append({"clip_id": name, "split": split, "labels": [CLASSES[kind]]})
            rows.append({"clip_id": name, "seconds": 4.0, "features": packed, "status": "ok"})
    columns = [("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string()))]
    shards.write(folder / "manifest.parquet", clips, pa.schema(columns))
    schema = pa.schema([pa.field("clip_id", pa.string()), pa.field("seconds", pa.float64()), field, *shards.STATE])
    shards.write(folder / "fbank.parquet", rows, schema)
    (folder / "classes.json").write_text(json.dumps({"heads": {"class": CLASSES}}))
    return folder


def accuracies(corpus: Path, folder: Path, adaptor: dict[str, Any] | None) -> list[float]:
    """Of the validation clips, for each of three seeds that the command trains."""
    folder.mkdir()
    job = {
        "system": "audio_classifier",
        "settings": {
            "model": {**MODEL, "adaptor": adaptor},
            "normalisation": "none",
            "augmentation": {"freq_mask": 0, "time_mask": 0},
            "optimisation": {"learning_rate": 1e-2, "batch": 32, "epochs": 20},
            "validation_split": "validation",
            "validate_every": 20,
            "predict_splits": ["validation"],
        },
        "manifest": str(corpus / "manifest.parquet"),
        "features": {"fbank": [str(corpus / "fbank.parquet")]},
        "reductions": {"classes": str(corpus / "classes.json")},
        "seeds": [0, 1, 2],
        "clip_seconds": 4,
        "device": "cpu",
        "checkpoints": str(folder / "checkpoints"),
    }
    (folder / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "workflow_scripts.training.train", folder / "job.json", folder / "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = pq.read_table(folder / "run/history.parquet", columns=["validation_top1"])["validation_top1"]
    return [accuracy for accuracy in found.to_pylist() if accuracy is not None]


def test_an_adaptor_that_adds_nothing_shows(clicks: Path, tmp_path: Path) -> None:
    adapted = accuracies(clicks, tmp_path / "adapted", {"weight": 1, "kernel": 4 * PATCH + 1})
    assert len(adapted) == 3
    for name, adaptor in (("without", None), ("zeroed", {"weight": 0, "kernel": 4 * PATCH + 1})):
        assert min(adapted) > max(accuracies(clicks, tmp_path / name, adaptor)) + 0.2
