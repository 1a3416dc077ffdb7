"""What a user chooses: `config.yaml`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from workflow_scripts.settings.base import MANNER, Strict
from workflow_scripts.settings.download import Download
from workflow_scripts.settings.rehearsal import Rehearsal

Scale = Literal["mini", "full", "smoke"]


class Config(Strict):
    """The user's choices. Any of them can be given on the command line too: `--config scale=full seeds=3`."""

    scale: Scale = Field(
        default="mini",
        description="`mini`: small composed corpora, minutes on two cores; `full`: the papers' setting; "
        "`smoke`: the wiring only, its numbers mean nothing. Decides what `results/table<n>.csv` holds; "
        "paths that name a scale are not affected",
    )
    papers: list[str] | None = Field(
        default=None, description="The papers in `results/table<n>.csv`: folders of `papers/`; null means all"
    )
    seeds: int | None = Field(
        default=None, ge=1, description="Number of seeds of every experiment, instead of the papers' own"
    )
    work_dir: Annotated[Path, MANNER] = Field(
        default=Path("work"), description="Where assets, media, features and runs are kept"
    )
    tracking_uri: Annotated[str | None, MANNER] = Field(
        default="sqlite:///results/mlflow.db", description="Where MLflow keeps runs and tables; null: no tracking"
    )
    limit: int | None = Field(
        default=None, ge=1, description="At most so many clips of every split of every corpus, the same ones each time"
    )
    device: Annotated[Literal["auto", "cpu", "cuda"], MANNER] = Field(
        default="auto", description="Where features are extracted and models trained; auto: CUDA where there is one"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        default="32-true",
        description="Arithmetic of training, in the terms of Lightning Fabric. "
        "On CPUs half precision is no faster, and there for tests only",
    )
    bootstrap: int = Field(default=1000, ge=100, description="Resamples behind every confidence interval")
    download: Download = Field(default=Download(), description="How clips are fetched")
    rehearsal: Rehearsal = Field(default=Rehearsal(), description="How the full scale is rehearsed")

    @field_validator("work_dir")
    @classmethod
    def inside(cls, folder: Path) -> Path:
        if ".." in folder.parts:
            raise ValueError("write the folder without '..'")
        return folder
