"""What a user chooses: `config.yaml`."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, field_validator, model_validator

from workflow_scripts.settings.base import MANNER, Strict
from workflow_scripts.settings.download import Download
from workflow_scripts.settings.losses import Losses
from workflow_scripts.settings.media import Bounds
from workflow_scripts.settings.rehearsal import Rehearsal
from workflow_scripts.settings.tables import MOST_SEEDS

VARIABLE = re.compile(r"\$\{(\w+)\}")  # of the environment, in `tracking_uri`
SECRET = re.compile("pass|pwd|secret|token", re.IGNORECASE)  # in the name of an option of an address

Scale = Literal["mini", "pilot", "full", "smoke"]


class Config(Strict):
    """The user's choices. Any of them can be given on the command line too: `--config scale=full seeds=3`."""

    scale: Scale = Field(
        default="mini",
        description="`mini`: small composed corpora, minutes on two cores; `full`: the papers' setting; "
        "`pilot`: a part of the papers' corpora and one seed, hours on one GPU; "
        "`smoke`: the wiring only, its numbers mean nothing. Decides what `results/table<n>.csv` holds; "
        "paths that name a scale are not affected",
    )
    papers: list[str] | None = Field(
        default=None,
        description="The papers in `results/table<n>.csv`: folders of `papers/`; null means all that are no "
        "studies of one's own (`own` in paper.yaml)",
    )
    papers_path: Annotated[list[Path], MANNER] = Field(
        default=[],
        description="Folders that hold folders of papers, beside `papers/`; from the folder where you run",
    )
    seeds: int | None = Field(
        default=None, ge=1, le=MOST_SEEDS, description="Number of seeds of every experiment, instead of the papers' own"
    )
    work_dir: Annotated[Path, MANNER] = Field(
        default=Path("work"), description="Where assets, media, features and runs are kept"
    )
    tracking_uri: Annotated[str | None, MANNER] = Field(
        default="sqlite:///results/mlflow.db",
        description="Where MLflow keeps runs and tables; null: no tracking. `${NAME}` stands for an environment "
        "variable, such as one with the password, which may not stand here itself",
    )
    strict_assets: Annotated[bool, MANNER] = Field(
        default=False,
        description="Whether a file of which no checksum is published is refused until you have written its own into "
        "assets.yaml; else the first that comes is recorded in assets.lock.yaml, and any other refused afterwards",
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="At most so many clips of every split of every corpus, the same ones each time; of record files "
        "no more are fetched than it needs",
    )
    fraction: float = Field(
        default=1,
        gt=0,
        le=1,
        description="Share of the clips of every class of every split of every corpus, rounded up; of a corpus of "
        "record files, share of the files of each part",
    )
    sample_seed: int = Field(
        default=0, ge=0, lt=1 << 64, description="Another one draws other clips for `limit` and `fraction`"
    )
    device: Annotated[Literal["auto", "cpu", "cuda"], MANNER] = Field(
        default="auto", description="Where features are extracted and models trained; auto: CUDA where there is one"
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        default="32-true",
        description="Arithmetic of training, in the terms of Lightning Fabric. "
        "On CPUs half precision is no faster, and there for tests only",
    )
    matmul_precision: Literal["highest", "high"] = Field(
        default="highest",
        description="Arithmetic of float32 products and convolutions in training on GPUs: `highest`: in full; `high`: "
        "TF32, several times as fast from Ampere on, with 10 of the 23 bits behind the point",
    )
    bootstrap: int = Field(default=1000, ge=100, le=100_000, description="Resamples behind every confidence interval")
    common_clips: bool = Field(
        default=False,
        description="Whether each table is scored on the test clips only that all its scored rows have; else each row "
        "on those that it has, and a table whose rows rest on different clips says so. Compared scores rest on the "
        "clips that both have either way",
    )
    download: Download = Field(default=Download(), description="How clips are fetched")
    losses: Losses = Field(default=Losses(), description="What a job may lose of the clips that come to it")
    bounds: Bounds = Field(default=Bounds(), description="What a media file may declare of itself")
    rehearsal: Rehearsal = Field(default=Rehearsal(), description="How the full scale is rehearsed")

    @model_validator(mode="after")  # of the whole, because what is found in a field is printed
    def no_password(self) -> "Config":
        """Command lines and files of jobs are seen by others."""
        address = self.tracking_uri or ""
        login = re.search("//(.*)@", address)
        given = [value for name, value in parse_qsl(urlsplit(address).query) if SECRET.search(name)]
        given += [login[1].partition(":")[2]] if login else []
        if any(part and not VARIABLE.fullmatch(part) for part in given):
            raise ValueError(
                "tracking_uri must not hold a password, which others would see in the list of processes: put the "
                "password into an environment variable and write its name as ${NAME} in the password's place"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def null_of_the_command_line(cls, values: Any) -> Any:
        """Snakemake hands over the null of `--config limit=null` as a text."""
        if not isinstance(values, dict):
            return values
        return {key: with_nulls(value) for key, value in values.items()}

    @field_validator("papers", mode="before")
    @classmethod
    def one_paper(cls, value: Any) -> Any:
        """`--config papers=boes_avsed` names one."""
        return value.split(",") if isinstance(value, str) else value

    @field_validator("work_dir")
    @classmethod
    def inside(cls, folder: Path) -> Path:
        if ".." in folder.parts:
            raise ValueError("write the folder without '..'")
        return folder


def with_nulls(value: Any) -> Any:
    """The same value, in which the text null, as YAML writes it, is null, in mappings too."""
    if isinstance(value, dict):
        return {key: with_nulls(inner) for key, inner in value.items()}
    return None if isinstance(value, str) and value in {"null", "Null", "NULL", "~", ""} else value
