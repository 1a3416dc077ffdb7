"""Checks of what is declared against the plug-ins that it names, before any job starts."""

import re
from typing import Any

from workflow_scripts.corpora.plan import composer, reader
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.features.plan import extractor, reducer
from workflow_scripts.figures.plan import kind
from workflow_scripts.media.plan import download
from workflow_scripts.scores.plan import scorer
from workflow_scripts.settings import papers
from workflow_scripts.settings.figures import Figure
from workflow_scripts.settings.listening import ListeningTest
from workflow_scripts.settings.papers import Experiment, Paper
from workflow_scripts.settings.plugins import FAMILIES, SYSTEMS, plugin
from workflow_scripts.settings.scale import Scale
from workflow_scripts.settings.tables import Table
from workflow_scripts.training.plan import system


def check(scale: Scale) -> None:
    """Everything that the catalogue and the chosen papers declare."""
    for corpus in scale.corpora:
        check_corpus(scale, corpus)
    for paper in scale.papers:
        check_paper(scale, paper)


def check_corpus(scale: Scale, name: str) -> None:
    corpus, where, reading = scale.corpus(name), f"corpora.yaml: {name}", reader(scale, name)
    download(scale, name)
    if corpus.composer is not None:
        composer(scale, name)
        return
    for role in reading.files.keys() - reading.optional - corpus.annotations.keys():
        raise UserError(f"{where}.annotations: the file '{role}' is missing")
    for role, asset in corpus.annotations.items():
        if role not in (known := reading.files.keys() | reading.optional):
            raise UserError(f"{where}.annotations: no file '{role}'{did_you_mean(role, known)}")
        scale.asset(asset, f"{where}.annotations.{role}")
    for packed in corpus.archive.packed if corpus.archive else []:
        scale.asset(packed, f"{where}.archive.packed")


def check_paper(scale: Scale, name: str) -> None:
    """A paper at this scale, every plug-in's settings included."""
    paper, where = scale.paper(name), f"papers/{name} ({scale.name})"
    for alias, corpus in paper.corpora.items():
        if corpus not in scale.corpora:
            known = did_you_mean(corpus, scale.corpora)
            raise UserError(f"{where}: corpora.{alias}: no corpus '{corpus}' in corpora.yaml{known}")
    for key, find in (
        ("features", extractor),
        ("reductions", reducer),
        ("experiments", system),
        ("experiments", scorer),
    ):
        for entry in getattr(paper, key):
            for asset in find(scale, name, entry).assets:
                scale.asset(asset, f"{where}: {key}.{entry}")
    for sweep in paper.sweeps:
        for key, experiment in papers.swept(paper, sweep).items():
            check_experiment(experiment, f"{where}: sweeps.{key}")
    for key, table in paper.tables.items():
        check_table(paper, table, f"{where}: tables.{key}")
    for key, figure in paper.figures.items():
        check_figure(paper, figure, f"{where}: figures.{key}")
    for key, test in paper.listening.items():
        check_listening(paper, key, test, f"{where}: listening.{key}")


def check_experiment(experiment: Experiment, where: str) -> None:
    """The settings of an experiment's plug-ins."""
    plugin(SYSTEMS, experiment.system, f"{where}.system").check(experiment.settings, f"{where}.settings")
    plugin(FAMILIES, experiment.metrics, f"{where}.metrics").check(experiment.scoring, f"{where}.scoring")


def check_table(paper: Paper, values: dict[str, Any], where: str) -> None:
    table = Table.check(values, where)
    for name in [*table.experiments(), *table.modelled(), *table.reporting()]:
        refer(name, paper, where)


def check_figure(paper: Paper, values: dict[str, Any], where: str) -> None:
    figure = Figure.check(values, where)
    for name in filter(None, [figure.experiment, *figure.scores.values(), *figure.shown.values()]):
        refer(name, paper, where)
    if figure.values is not None and figure.values not in paper.reductions:
        raise UserError(
            f"{where}.values: no reduction '{figure.values}'{did_you_mean(figure.values, paper.reductions)}"
        )
    chosen = kind(figure, where)
    has = {"experiment": figure.experiment, "scores": figure.scores, "shown": figure.shown, "values": figure.values}
    for need in chosen.needs:
        key = need if need in has else "shown" if need == "manifest" and figure.shown else "experiment"
        if not has[key]:
            raise UserError(f"{where}: the kind '{figure.kind}' needs the key '{key}'")
    corpora = {paper.experiments[name].corpus for name in figure.shown.values()}
    if len(corpora) > 1:
        raise UserError(f"{where}.shown: experiments on {' and '.join(sorted(corpora))}; show those of one corpus")
    features = [name for name, feature in paper.features.items() if feature.corpus in corpora]
    if figure.experiment:
        features = paper.experiments[figure.experiment].features
    for stream in chosen.streams():
        if stream not in features:
            raise UserError(
                f"{where}.settings: '{figure.experiment or next(iter(corpora), '')}' has no feature '{stream}'"
                f"{did_you_mean(stream, features)}"
            )


def check_listening(paper: Paper, name: str, values: dict[str, Any], where: str) -> None:
    if not re.fullmatch(r"table\w+", name):
        raise UserError(f"{where}: name it after the table that shows its scores, such as table2")
    test = ListeningTest.check(values, where)
    for alias in test.clips:
        if alias not in paper.corpora:
            raise UserError(f"{where}.clips: no corpus '{alias}'{did_you_mean(alias, paper.corpora)}")
    for label, chosen in test.systems.items():
        for alias, experiment in (chosen or {}).items():
            key = f"{where}.systems.{label}.{alias}"
            refer(experiment, paper, key)
            corpus = paper.experiments[experiment].corpus
            if corpus != alias:
                raise UserError(f"{key}: '{experiment}' is trained on '{corpus}'; name an experiment of '{alias}'")


def refer(experiment: str, paper: Paper, where: str) -> None:
    if experiment not in paper.experiments:
        raise UserError(f"{where}: no experiment '{experiment}'{did_you_mean(experiment, paper.experiments)}")
