"""The job that brings a paper's runs and tables into MLflow."""

from pathlib import Path
from typing import Annotated

from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.scores.plan import scored
from workflow_scripts.settings.base import MANNER
from workflow_scripts.settings.scale import Scale
from workflow_scripts.tables.plan import declared
from workflow_scripts.training import plan as training


class SyncTracking(Job):
    """All that a paper's runs have written: folders of training jobs and files of scores by experiment, tables.

    `lock` pins the environment; its hash is a tag.
    """

    step = "workflow_scripts.tracking.sync:sync_tracking"
    cheap = True
    verbose = True

    paper: str
    scale: str
    uri: str
    jobs: Annotated[dict[str, list[Path]], MANNER]
    scores: Annotated[dict[str, Path], INPUT]
    tables: Annotated[list[Path], INPUT]
    coverage: Annotated[Path, INPUT]
    lock: Annotated[Path, MANNER]


def sync_tracking(scale: Scale, paper: str) -> SyncTracking:
    tables = list(scale.paper(paper).tables)
    trained = list(dict.fromkeys(name for table in tables for name in declared(scale, paper, table).experiments()))
    return SyncTracking(
        paper=paper,
        scale=scale.name,
        uri=scale.config.tracking_uri,
        jobs={name: training.folders(scale, paper, name) for name in trained},
        scores={name: scored(scale, paper, name, "scores.parquet") for name in trained},
        tables=[scale.result(paper, f"{table}.csv") for table in tables],
        coverage=scale.result(paper, "coverage.csv"),
        lock=scale.root / "envs" / "requirements.txt",
    )
