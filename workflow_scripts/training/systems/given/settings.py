"""Settings of predictions that somebody made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from workflow_scripts.training.system import System as Base

SUFFIXES = (".csv", ".tsv", ".parquet")


class System(Base):
    """A file of predictions for the corpus's clips, which is scored as any system's.

    Each row is of a clip, `clip_id` as the corpus's manifest has it, and of a `seed`, a column that a file of a single
    system needs not have. CSV and TSV have a `caption`, or else a column for each class. Parquet has the columns and
    the metadata of a run's own `predictions.parquet`, of captions, logits, rankings or events.
    """

    file: Path = Field(description="The predictions: `.csv`, `.tsv` or `.parquet`, from the folder where you run")
    numbers: Literal["logits", "probabilities"] = Field(
        "logits", description="what the columns of classes hold in CSV and TSV"
    )
    predict_splits: list[str] = Field(
        ["test"], min_length=1, description="splits that are scored; predictions of other clips are left out"
    )

    @field_validator("file")
    @classmethod
    def known(cls, file: Path) -> Path:
        if file.suffix not in SUFFIXES:
            raise ValueError(f"predictions are {', '.join(SUFFIXES)}")
        return file

    @property
    def own_files(self) -> dict[str, Path]:
        return {"predictions": self.file}
