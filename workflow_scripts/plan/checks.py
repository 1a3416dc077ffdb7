"""Checks of what is declared against the plug-ins that it names, before any job starts."""

import re
from pathlib import Path
from typing import Any

from workflow_scripts.comparability import COVERAGE
from workflow_scripts.corpora.interface import HELD_OUT
from workflow_scripts.corpora.plan import annotations, composer, reader
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.features.plan import extractor, reducer
from workflow_scripts.figures.plan import kind
from workflow_scripts.files import read_lines
from workflow_scripts.media.plan import download
from workflow_scripts.scores.plan import scorer
from workflow_scripts.settings import papers
from workflow_scripts.settings.archive import FIELDS, placeholders
from workflow_scripts.settings.base import NAME
from workflow_scripts.settings.figures import Figure
from workflow_scripts.settings.listening import ListeningTest
from workflow_scripts.settings.papers import Experiment, Paper
from workflow_scripts.settings.plugins import FAMILIES, SYSTEMS, plugin
from workflow_scripts.settings.scale import Scale
from workflow_scripts.settings.tables import PER_COLUMN, Table
from workflow_scripts.tables.cells import read_published
from workflow_scripts.tables.plan import declared_claims, published
from workflow_scripts.tracking.plan import check_address
from workflow_scripts.training.plan import system


def check(scale: Scale) -> None:
    """Everything that the catalogue and the chosen papers declare."""
    check_address(scale.config.tracking_uri)
    check_cookies(scale.config.download.cookies, "config.yaml: download.cookies")
    for corpus in scale.corpora:
        check_corpus(scale, corpus)
    for paper in scale.papers:
        check_paper(scale, paper)


def check_corpus(scale: Scale, name: str) -> None:
    corpus, where, reading = scale.corpus(name), scale.corpus_place(name), reader(scale, name)
    if corpus.has_clips:
        check_cookies(download(scale, name).cookies, f"{where}.download.cookies")
    fields = {*FIELDS, *reading.fields}
    named = corpus.archive.names if corpus.archive else []
    for key, template in [("link", corpus.link or ""), *(("archive.names", name) for name in named)]:
        for field in placeholders(template):
            if field not in fields:
                hint = did_you_mean(field, fields)
                raise UserError(f"{where}.{key}: the rows of the reader '{corpus.reader}' have no '{field}'{hint}")
    if corpus.composer is not None:
        composer(scale, name)
        return
    for role in reading.files.keys() - reading.optional - corpus.annotations.keys():
        raise UserError(f"{where}.annotations: the file '{role}' is missing")
    for role, asset in corpus.annotations.items():
        if role not in (known := reading.files.keys() | reading.optional | {HELD_OUT}):
            raise UserError(f"{where}.annotations: no file '{role}'{did_you_mean(role, known)}")
        scale.asset(asset, f"{where}.annotations.{role}")
    for packed in corpus.archive.packed if corpus.archive else []:
        scale.asset(packed, f"{where}.archive.packed")


def check_paper(scale: Scale, name: str) -> None:
    """A paper at this scale, every plug-in's settings included."""
    paper, where = scale.paper(name), f"{scale.place(name)} ({scale.name})"
    for alias, corpus in paper.corpora.items():
        if corpus not in scale.corpora:
            known = did_you_mean(corpus, scale.corpora)
            raise UserError(f"{where}: corpora.{alias}: no corpus '{corpus}' in corpora.yaml{known}")
    check_plugins(scale, name, where)
    for key in paper.experiments:
        check_splits(scale, name, key, f"{where}: experiments.{key}.settings")
    for sweep in paper.sweeps:
        for key, experiment in papers.swept(paper, sweep).items():
            if not NAME.fullmatch(key):
                raise UserError(f"{where}: sweeps.{sweep}: '{key}' makes no name of an experiment; choose other values")
            check_experiment(experiment, f"{where}: sweeps.{key}")
        chosen = paper.sweeps[sweep]
        check_metric(paper, chosen.experiment, chosen.metric, f"{where}: sweeps.{sweep}.metric")
    tables: dict[str, Table] = {}
    for key, table in paper.tables.items():
        tables[key] = check_table(scale, name, table, f"{where}: tables.{key}")
    if paper.tables:
        read_published(published(scale, name))
        check_claims(scale, name, tables)
    for key, figure in paper.figures.items():
        check_figure(paper, figure, f"{where}: figures.{key}")
    for key, test in paper.listening.items():
        check_listening(paper, key, test, f"{where}: listening.{key}")


def check_plugins(scale: Scale, name: str, where: str) -> None:
    """The settings of all plug-ins of a paper, and the assets that they name."""
    finders = (("features", extractor), ("reductions", reducer), ("experiments", system), ("experiments", scorer))
    for key, find in finders:
        for entry in getattr(scale.paper(name), key):
            for asset in find(scale, name, entry).assets:
                scale.asset(asset, f"{where}: {key}.{entry}")


def check_experiment(experiment: Experiment, where: str) -> None:
    """The settings of an experiment's plug-ins."""
    plugin(SYSTEMS, experiment.system, f"{where}.system").check(experiment.settings, f"{where}.settings")
    plugin(FAMILIES, experiment.metrics, f"{where}.metrics").check(experiment.scoring, f"{where}.scoring")


def check_splits(scale: Scale, name: str, experiment: str, where: str) -> None:
    """The splits of an experiment must be those that its corpus has, as far as the paper counts their clips."""
    paper, corpus = scale.paper(name), scale.paper(name).experiments[experiment].corpus
    if corpus not in paper.counts:
        return
    found = [*paper.counts[corpus], *(["validation"] if HELD_OUT in annotations(scale, paper.corpora[corpus]) else [])]
    settings = system(scale, name, experiment)
    for key in ("train_split", "validation_split", "predict_splits"):
        own = getattr(settings, key, None) or []
        for split in [own] if isinstance(own, str) else own:
            if split not in found:
                raise UserError(f"{where}.{key}: the corpus has no split '{split}'{did_you_mean(split, found)}")


def check_table(scale: Scale, name: str, values: dict[str, Any], where: str) -> Table:
    paper, table = scale.paper(name), Table.check(values, where)
    for experiment in [*table.experiments(), *table.modelled(), *table.reporting()]:
        refer(experiment, paper, where)
    predicted = {experiment: system(scale, name, experiment).predict_splits for experiment in table.experiments()}
    for score in table.scores():
        check_metric(paper, score.experiment, score.metric, where)
        if score.split not in predicted[score.experiment]:
            hint = did_you_mean(score.split, predicted[score.experiment])
            raise UserError(f"{where}: '{score.experiment}' predicts no clips of the split '{score.split}'{hint}")
    for file in table.files_of_values():
        known = [*paper.reductions, *paper.listening, COVERAGE]
        if file not in known:
            raise UserError(f"{where}: no reduction or listening test '{file}'{did_you_mean(file, known)}")
    if table.selection is not None and table.selection.ranking != PER_COLUMN:
        for experiment in table.experiments():
            check_metric(paper, experiment, table.selection.ranking, f"{where}.selection.ranking")
    return table


def check_claims(scale: Scale, name: str, tables: dict[str, Table]) -> None:
    """Claims are about cells that the paper's tables have."""
    for claim in declared_claims(scale, name).claims:
        where = f"{scale.place(name)}/claims.yaml: {claim.id}"
        for cell in claim.check_of.cells():
            if cell.table not in tables:
                raise UserError(f"{where}: no table '{cell.table}'{did_you_mean(cell.table, tables)}")
            table, place = tables[cell.table], (cell.group, cell.row, cell.column)
            if not (table.score_at(*place) or table.statistic_at(*place) or table.fact_at(*place)):
                at = " / ".join(filter(None, place))
                raise UserError(f"{where}: {cell.table} has nothing at {at}, or nothing that a claim can be about")


def check_metric(paper: Paper, name: str, metric: str, where: str) -> None:
    """A metric must be one of the family that scores the experiment."""
    experiment = paper.experiments[name]
    family = plugin(FAMILIES, experiment.metrics, where).check(experiment.scoring, f"{where}.scoring")
    if metric not in family.metrics:
        raise UserError(
            f"{where}: '{experiment.metrics}', which scores '{name}', has no metric '{metric}'"
            f"{did_you_mean(metric, family.metrics)}"
        )


def check_cookies(path: Path | None, where: str) -> None:
    """A file of cookies must be there, in the Netscape format: yt-dlp passes over the lines that are not."""
    if path is None:
        return
    lines = [(n, line) for n, line in enumerate(read_lines(path), 1) if line.strip()]
    cookies = [(n, line) for n, line in lines if not line.startswith("#") or line.startswith("#HttpOnly_")]
    for number, line in cookies:
        if line.count("\t") != 6:
            raise UserError(
                f"{where}: {path}, line {number}: no cookie in Netscape's format, seven values between tabs; save it "
                "anew from the browser"
            )
    if not cookies:
        raise UserError(f"{where}: {path}: holds no cookie; save it anew from the browser, or write null")


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
