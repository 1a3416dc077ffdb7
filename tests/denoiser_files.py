"""A toy corpus of texts in the words of `caption_files`, and training on it, for tests."""

from pathlib import Path
from typing import Any

import numpy as np
import training_files
from caption_files import SOUNDS, TINY
from training_files import train_into

from workflow_scripts import shards
from workflow_scripts.corpora.annotate import MANIFEST
from workflow_scripts.training.job import TrainingJob

TEXTS = {"train": 48, "validation": 8}
SETTINGS = {
    "captioner": TINY["bart"],
    "optimisation": {"batch": 16, "epochs": 2, "learning_rate": 1e-2},
    "record_every": 3,
}


def write_corpus(folder: Path) -> Path:
    """A manifest of texts, each third one a temporal caption."""
    rng = np.random.default_rng(1)
    rows = []
    for split, count in TEXTS.items():
        for number in range(count):
            one, two = rng.permutation(SOUNDS)[:2]
            forms = (f"{one.capitalize()}, then {two}.", f"After {one}, {two}! First.", f"{one}: 1; {two}: 2")
            about = {"link": "", "start": 0.0, "split": split, "status": "ok"}
            rows.append({"clip_id": f"{split}-{number}", **about, "captions": [forms[number % 3]]})
    shards.write(folder / "manifest.parquet", rows, MANIFEST)
    return folder


def job_of(corpus: Path, folder: Path, seeds: list[int], **changes: Any) -> TrainingJob:
    given = {"manifest": corpus / "manifest.parquet", "clip_seconds": 1.0, "seeds": seeds}
    return training_files.job_of("denoiser", SETTINGS, given | {"checkpoints": folder / "checkpoints"}, changes)


def train(corpus: Path, folder: Path, seeds: list[int], **changes: Any) -> dict[str, Any]:
    return train_into(folder, job_of(corpus, folder, seeds, **changes))
