"""The job that scores an experiment."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from workflow_scripts.corpora.plan import manifest
from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.scores.interface import MetricFamily
from workflow_scripts.settings.base import digest
from workflow_scripts.settings.plugins import FAMILIES, plugin
from workflow_scripts.training import plan as training

if TYPE_CHECKING:
    from workflow_scripts.settings.scale import Scale


class Score(Job):
    """The scores of every seed on every predicted split, as they are and on resampled clips."""

    step = "workflow_scripts.scores.score:score"
    cheap = True

    family: str
    settings: MetricFamily
    manifest: Annotated[Path, INPUT]
    predictions: Annotated[list[Path], INPUT]
    assets: Annotated[dict[str, Path], INPUT] = Field({})
    replicates: int = 1000

    def modules(self) -> list[str]:
        return [*super().modules(), f"{FAMILIES}.{self.family}"]


def score(scale: "Scale", paper: str, experiment: str) -> Score:
    settings = scorer(scale, paper, experiment)
    return Score(
        family=training.declared(scale, paper, experiment).metrics,
        settings=settings,
        manifest=manifest(scale, training.experiment_corpus(scale, paper, experiment)),
        predictions=training.outputs(scale, paper, experiment, "predictions.parquet"),
        assets=scale.asset_files(settings.assets),
        replicates=scale.config.bootstrap,
    )


class TryMetrics(Job):
    """Tries the programs and networks that a paper's metrics need, before hours are spent on training.

    Each of the `families`, by name and settings; the output tells which.
    """

    step = "workflow_scripts.scores.trial:try_metrics"
    cheap = True

    families: dict[str, MetricFamily]
    assets: Annotated[dict[str, Path], INPUT] = Field({})

    def modules(self) -> list[str]:
        return [*super().modules(), *sorted({type(family).__module__ for family in self.families.values()})]


def try_metrics(scale: "Scale", paper: str) -> TryMetrics:
    chosen = {
        f"{training.declared(scale, paper, name).metrics}-{digest(settings.identity())}": settings
        for name in scale.paper(paper).experiments
        if (settings := scorer(scale, paper, name)).tried
    }
    names = dict.fromkeys(asset for settings in chosen.values() for asset in settings.assets)
    return TryMetrics(families=chosen, assets=scale.asset_files(names))


def tried(scale: "Scale", paper: str, experiment: str) -> list[Path]:
    """What must be there before an experiment trains: that its metrics were tried, if they need to be."""
    return [scale.work / "scores" / paper / "tried.json"] if scorer(scale, paper, experiment).tried else []


def scorer(scale: "Scale", paper: str, name: str) -> Any:
    """The metrics of an experiment with their settings."""
    experiment, where = (
        training.declared(scale, paper, name),
        f"{scale.place(paper)} ({scale.name}): experiments.{name}",
    )
    return plugin(FAMILIES, experiment.metrics, f"{where}.metrics").check(experiment.scoring, f"{where}.scoring")


def scored(scale: "Scale", paper: str, name: str, file: str) -> Path:
    """One of the files of an experiment's scores: `scores.parquet`, `counts.parquet`, `replicates.parquet`."""
    return scale.work / "scores" / paper / name / file
