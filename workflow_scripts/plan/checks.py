"""Checks of what a paper declares, against the plug-ins that it names."""

from typing import Any

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.plan.plugins import FAMILIES, FIGURES, SYSTEMS
from workflow_scripts.settings.base import plugin
from workflow_scripts.settings.figures import Figure
from workflow_scripts.settings.papers import Experiment, Paper
from workflow_scripts.settings.tables import Table


def check_experiment(experiment: Experiment, where: str) -> tuple[str, ...]:
    """Checks the settings of an experiment's plug-ins; returns the assets that its system needs."""
    system = plugin(SYSTEMS, experiment.system, f"{where}.system").System.check(
        experiment.settings, f"{where}.settings"
    )
    plugin(FAMILIES, experiment.metrics, f"{where}.metrics").Scorer.check(experiment.scoring, f"{where}.scoring")
    return tuple(getattr(system, "assets", ()))


def check_table(paper: Paper, values: dict[str, Any], where: str) -> None:
    table = Table.check(values, where)
    for name in [*table.experiments(), *table.modelled(), *table.reporting()]:
        if name not in paper.experiments:
            raise UserError(f"{where}: no experiment '{name}'{did_you_mean(name, paper.experiments)}")


def check_figure(paper: Paper, values: dict[str, Any], where: str) -> None:
    figure = Figure.check(values, where)
    for name in filter(None, [figure.experiment, *figure.scores.values()]):
        if name not in paper.experiments:
            raise UserError(f"{where}: no experiment '{name}'{did_you_mean(name, paper.experiments)}")
    if figure.values is not None and figure.values not in paper.reductions:
        raise UserError(
            f"{where}.values: no reduction '{figure.values}'{did_you_mean(figure.values, paper.reductions)}"
        )
    kind = figure_kind(figure, where)
    has = {"experiment": figure.experiment, "scores": figure.scores, "values": figure.values}
    for need in kind.needs:
        key = need if need in has else "experiment"
        if not has[key]:
            raise UserError(f"{where}: the kind '{figure.kind}' needs the key '{key}'")
    features = paper.experiments[figure.experiment].features if figure.experiment else []
    for stream in kind.streams():
        if stream not in features:
            raise UserError(
                f"{where}.settings: '{figure.experiment}' has no feature '{stream}'{did_you_mean(stream, features)}"
            )


def figure_kind(figure: Figure, where: str) -> Any:
    """The plug-in of a figure with its settings."""
    return plugin(FIGURES, figure.kind, f"{where}.kind").Figure.check(figure.settings, f"{where}.settings")
