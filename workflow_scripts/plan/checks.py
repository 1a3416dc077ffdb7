"""Checks of what a paper declares, against the plug-ins that it names."""

from typing import Any

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.plan.plugins import FAMILIES, FIGURES, SYSTEMS
from workflow_scripts.settings.base import plugin
from workflow_scripts.settings.figures import Figure
from workflow_scripts.settings.papers import Experiment, Paper


def check_experiment(experiment: Experiment, where: str) -> None:
    plugin(SYSTEMS, experiment.system, f"{where}.system").System.check(experiment.settings, f"{where}.settings")
    plugin(FAMILIES, experiment.metrics, f"{where}.metrics").Scorer.check(experiment.scoring, f"{where}.scoring")


def check_figure(paper: Paper, values: dict[str, Any], where: str) -> None:
    figure = Figure.check(values, where)
    if figure.experiment not in paper.experiments:
        raise UserError(
            f"{where}: no experiment '{figure.experiment}'{did_you_mean(figure.experiment, paper.experiments)}"
        )
    features = paper.experiments[figure.experiment].features
    for stream in figure_kind(figure, where).streams():
        if stream not in features:
            raise UserError(
                f"{where}.settings: '{figure.experiment}' has no feature '{stream}'{did_you_mean(stream, features)}"
            )


def figure_kind(figure: Figure, where: str) -> Any:
    """The plug-in of a figure with its settings."""
    return plugin(FIGURES, figure.kind, f"{where}.kind").Figure.check(figure.settings, f"{where}.settings")
