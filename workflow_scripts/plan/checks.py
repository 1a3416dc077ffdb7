"""Checks of what a paper declares, against the plug-ins that it names."""

from typing import Any

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.settings.figures import Figure
from workflow_scripts.settings.papers import Experiment, Paper
from workflow_scripts.settings.plugins import FAMILIES, FIGURES, SYSTEMS, plugin
from workflow_scripts.settings.tables import Table


def check_experiment(experiment: Experiment, where: str) -> tuple[str, ...]:
    """Checks the settings of an experiment's plug-ins; returns the assets that its system needs."""
    system = plugin(SYSTEMS, experiment.system, f"{where}.system").check(experiment.settings, f"{where}.settings")
    plugin(FAMILIES, experiment.metrics, f"{where}.metrics").check(experiment.scoring, f"{where}.scoring")
    return tuple(getattr(system, "assets", ()))


def check_table(paper: Paper, values: dict[str, Any], where: str) -> None:
    table = Table.check(values, where)
    for name in [*table.experiments(), *table.modelled(), *table.reporting()]:
        if name not in paper.experiments:
            raise UserError(f"{where}: no experiment '{name}'{did_you_mean(name, paper.experiments)}")


def check_figure(paper: Paper, values: dict[str, Any], where: str) -> None:
    figure = Figure.check(values, where)
    for name in filter(None, [figure.experiment, *figure.scores.values(), *figure.shown.values()]):
        if name not in paper.experiments:
            raise UserError(f"{where}: no experiment '{name}'{did_you_mean(name, paper.experiments)}")
    if figure.values is not None and figure.values not in paper.reductions:
        raise UserError(
            f"{where}.values: no reduction '{figure.values}'{did_you_mean(figure.values, paper.reductions)}"
        )
    kind = figure_kind(figure, where)
    has = {"experiment": figure.experiment, "scores": figure.scores, "shown": figure.shown, "values": figure.values}
    for need in kind.needs:
        key = need if need in has else "shown" if need == "manifest" and figure.shown else "experiment"
        if not has[key]:
            raise UserError(f"{where}: the kind '{figure.kind}' needs the key '{key}'")
    corpora = {paper.experiments[name].corpus for name in figure.shown.values()}
    if len(corpora) > 1:
        raise UserError(f"{where}.shown: experiments on {' and '.join(sorted(corpora))}; show those of one corpus")
    features = [name for name, feature in paper.features.items() if feature.corpus in corpora]
    if figure.experiment:
        features = paper.experiments[figure.experiment].features
    for stream in kind.streams():
        if stream not in features:
            raise UserError(
                f"{where}.settings: '{figure.experiment or next(iter(corpora), '')}' has no feature '{stream}'"
                f"{did_you_mean(stream, features)}"
            )


def figure_kind(figure: Figure, where: str) -> Any:
    """The plug-in of a figure with its settings."""
    return plugin(FIGURES, figure.kind, f"{where}.kind").check(figure.settings, f"{where}.settings")
