"""What is taken away from an audio-visual mean teacher must show, on the validation clips of a small corpus."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import training_files
from training_files import shards_in, train_into

from workflow_scripts import shards
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.systems.mean_teacher_sed import run

CLASSES = ["low", "middle", "high"]
SPLITS = {"weak": 32, "unlabelled": 120, "validation": 120}
SETTINGS: dict[str, Any] = {
    "classes": CLASSES,
    "frames": 10,
    "frame_seconds": 0.5,
    "network": {
        "projections": {"visual": 4},
        "channels": [8, 8, 8],
        "pools": [[2, 2], [2, 2], [1, 2]],
        "dropout": 0.2,
        "hidden": 8,
        "layers": 1,
    },
    "optimisation": {
        "steps": 160,
        "batch": {"weak": 8, "unlabelled": 8},
        "peak_rate": 0.01,
        "ramp_steps": 40,
        "decay": 0.998,
        "teacher_decay": 0.98,
    },
    "validate_every": 40,
    "predict_splits": ["validation"],
}


def write_corpus(folder: Path, shuffled: bool = False) -> Path:
    """Clips of 5 s in which classes sound in bands of their own, a third of them too quiet to be heard.

    The source of most is seen. `shuffled` gives each clip the pictures of another one of its split.
    """
    noise = np.random.default_rng(5)
    manifest: list[dict[str, Any]] = []
    sounds: list[np.ndarray] = []
    pictures: list[np.ndarray] = []
    for split, count in SPLITS.items():
        shown = []
        for number in range(count):
            labels = [name for name in CLASSES if noise.random() < 0.4]
            sound, picture = noise.normal(-40, 3, (40, 8)), noise.normal(0, 0.6, (5, 6))
            for name in labels:
                start, place = noise.integers(0, 20), CLASSES.index(name)
                sound[start : start + 15, 2 * place : 2 * place + 2] += noise.choice([1, 6, 9])
                picture[:, place] += noise.random() < 0.8
            manifest.append(
                {"clip_id": f"{split}-{number}", "split": split, "labels": labels if split != "unlabelled" else None}
            )
            sounds.append(sound)
            shown.append(picture)
        order = noise.permutation(count)
        pictures += [shown[place] for place in order] if shuffled else shown
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(manifest), folder / "manifest.parquet")
    for name, values in (("spectral", sounds), ("visual", pictures)):
        field = shards.array_field("features", "float16", values[0].shape)
        columns = [pa.field("clip_id", pa.string()), pa.field("seconds", pa.float64()), field, *shards.STATE]
        rows = [
            {"clip_id": row["clip_id"], "seconds": 5.0, "status": "ok", "features": shards.pack(value, field)}
            for row, value in zip(manifest, values, strict=True)
        ]
        shards.write(folder / name / "0.parquet", rows, pa.schema(columns))
    return folder


def f1(corpus: Path, folder: Path, seeds: int = 3, **changes: Any) -> float:
    """The mean of the last validation scores over seeds."""
    given = {
        "manifest": corpus / "manifest.parquet",
        "features": {name: shards_in(corpus / name) for name in ("spectral", "visual")},
        "clip_seconds": 5.0,
        "seeds": list(range(seeds)),
        "checkpoints": folder / "checkpoints",
    }
    job: TrainingJob = training_files.job_of("mean_teacher_sed", SETTINGS, given, changes)
    courses = train_into(folder, job)["course"].values()
    return float(np.mean([np.mean(course["values"][-2:]) for course in courses]))


def test_video_of_other_clips_shows(tmp_path: Path) -> None:
    """A third of the sounds are too quiet: who learns from the wrong pictures misses them."""
    torch.set_num_threads(1)
    whole = f1(write_corpus(tmp_path / "corpus"), tmp_path / "whole", seeds=2)
    shuffled = f1(write_corpus(tmp_path / "shuffled", shuffled=True), tmp_path / "trained", seeds=2)
    assert whole > 0.7
    assert shuffled < whole - 0.03


def test_a_teacher_that_does_not_follow_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on to teach what it knew at the start: next to nothing."""
    torch.set_num_threads(1)
    corpus = write_corpus(tmp_path / "corpus")
    whole = f1(corpus, tmp_path / "whole", seeds=2)
    monkeypatch.setattr(run, "update_teacher", lambda teacher, student, decay: None)
    broken = f1(corpus, tmp_path / "broken", seeds=2)
    assert broken < whole - 0.03
