"""Tables, figures, claims, coverage and tracking of one scale."""

import re
from typing import Any

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.plan.checks import figure_kind
from workflow_scripts.plan.listening import Listening
from workflow_scripts.plan.needs import Asking
from workflow_scripts.plan.plugins import ANALYTIC, FAMILIES, FIGURES, as_json
from workflow_scripts.settings import papers
from workflow_scripts.settings.base import read_yaml
from workflow_scripts.settings.claims import CellAt, Claims
from workflow_scripts.settings.code_hash import code_hash
from workflow_scripts.settings.figures import Figure
from workflow_scripts.settings.tables import Table


class Plan(Listening, Asking):
    """One scale of the project, from its assets to its results."""

    # tables

    def table(self, paper: str, name: str) -> Table:
        """A table of a paper; `sweep_<name>` is the table of a sweep.

        A number of seeds chosen by the user keeps the paper's share of selected ones; what was found at another
        scale or with a limited number of clips is not comparable with the paper's.
        """
        tables, sweeps = self.paper(paper).tables, self.paper(paper).sweeps
        sweep = name.removeprefix("sweep_")
        if name.startswith("sweep_") and sweep in sweeps:
            return papers.sweep_table(self.paper(paper), sweep)
        if name not in tables:
            known = [*tables, *(f"sweep_{sweep}" for sweep in sweeps)]
            raise UserError(f"papers/{paper}: no table '{name}'{did_you_mean(name, known)}")
        table = with_seeds(Table.check(tables[name], name), self.config.seeds)
        papers_own_data = self.scale == "full" and not self.config.limit
        return table if papers_own_data or not table.of_data() else table.model_copy(update={"comparable": False})

    def table_options(self, paper: str, name: str) -> str:
        """What a table is made from: scores, counts, and the paper's own settings for what is read off models."""
        table = self.table(paper, name)
        options = [f"--scores '{e}={self.score_folder(paper, e)}'" for e in table.experiments()]
        options += [f"--values '{values}={self.values(paper, values)}'" for values in table.files_of_values()]
        options += [f"--facts '{e}={self.training_folder(paper, e)}'" for e in table.reporting()]
        return " ".join(options)

    def models(self, paper: str, name: str) -> dict[str, str]:
        """The experiments, as the paper sets them, whose models a table describes."""
        table = self.table(paper, name)
        full = Plan(self.root, self.config, "full") if table.modelled() else self
        return {experiment: as_json(full.described(paper, experiment)) for experiment in table.modelled()}

    def described(self, paper: str, name: str) -> dict[str, Any]:
        """An experiment with all that it is built from."""
        experiment = self.experiment(paper, name)
        features = {feature: self.feature(paper, feature).model_dump() for feature in experiment.features}
        seconds = self.corpus(self.experiment_corpus(paper, name)).clip_seconds
        return {**experiment.model_dump(), "features": features, "clip_seconds": seconds}

    def table_code(self, paper: str, name: str) -> str:
        """A hash of the code that makes a table, its plug-ins included."""
        table = self.table(paper, name)
        families = {self.experiment(paper, e).metrics for e in table.experiments()}
        analytic = {part.name for part in table.analytic}
        plugins = [f"{FAMILIES}.{family}" for family in families] + [f"{ANALYTIC}.{part}" for part in analytic]
        return code_hash("workflow_scripts.tables.make", *plugins)

    def values(self, paper: str, name: str) -> str:
        """A file of values: the coverage, or a reduction."""
        if name in self.paper(paper).reductions:
            return self.reduced(paper, name)
        return f"{self.work}/tables/{paper}/{name}.json"

    def table_inputs(self, paper: str, name: str) -> list[str]:
        table = self.table(paper, name)
        return [
            *(f"{self.score_folder(paper, e)}/counts.parquet" for e in table.experiments()),
            *(self.values(paper, values) for values in table.files_of_values()),
            *(path for e in table.reporting() for path in self.training_outputs(paper, e, "params.json")),
        ]

    # figures

    def figure(self, paper: str, name: str) -> Figure:
        figures = self.paper(paper).figures
        if name not in figures:
            raise UserError(f"papers/{paper}: no figure '{name}'{did_you_mean(name, figures)}")
        return Figure.check(figures[name], f"papers/{paper}: figures.{name}")

    def figure_job(self, paper: str, name: str) -> dict[str, str]:
        """The files of the training that a figure shows, the job of its seed, by the option that names them.

        Of a figure that shows several experiments side by side only their manifest.
        """
        figure = self.figure(paper, name)
        files = {}
        if figure.experiment is not None:
            job = self.job_of_seed(paper, figure.experiment, figure.seed, f"figures.{name}")
            files = {
                "history": f"{job}/history.parquet",
                "predictions": f"{job}/predictions.parquet",
                "weights": f"{job}/weights.safetensors",
            }
        experiment = figure.experiment or next(iter(figure.shown.values()), None)
        if experiment is not None:
            files["manifest"] = self.manifest(self.experiment_corpus(paper, experiment))
        return {option: files[option] for option in figure_kind(figure, name).needs if option in files}

    def shown_predictions(self, paper: str, name: str) -> dict[str, str]:
        """The predictions that a figure shows side by side, by label."""
        figure = self.figure(paper, name)
        jobs = {label: self.job_of_seed(paper, e, figure.seed, f"figures.{name}") for label, e in figure.shown.items()}
        return {label: f"{job}/predictions.parquet" for label, job in jobs.items()}

    def figure_inputs(self, paper: str, name: str) -> list[str]:
        figure = self.figure(paper, name)
        return [
            *self.figure_job(paper, name).values(),
            *self.shown_predictions(paper, name).values(),
            *(f"{self.score_folder(paper, experiment)}/counts.parquet" for experiment in figure.scores.values()),
            *([self.values(paper, figure.values)] if figure.values else []),
            *(path for stream in figure_kind(figure, name).streams() for path in self.feature_shards(paper, stream)),
        ]

    def figure_options(self, paper: str, name: str) -> str:
        """What a figure is made from."""
        figure = self.figure(paper, name)
        options = [f"--{option} '{path}'" for option, path in self.figure_job(paper, name).items()]
        options += [f"--scores '{label}={self.score_folder(paper, e)}'" for label, e in figure.scores.items()]
        options += [f"--shown '{label}={path}'" for label, path in self.shown_predictions(paper, name).items()]
        options += [f"--values '{self.values(paper, figure.values)}'"] if figure.values else []
        streams = figure_kind(figure, name).streams()
        options += [f"--features '{stream}={self.feature_folder(paper, stream)}'" for stream in streams]
        return " ".join(options)

    def figure_note(self, paper: str, name: str) -> str:
        """What stands below a figure's title."""
        figure = self.figure(paper, name)
        return f"scale {self.scale}" + (f", seed {figure.seed}" if figure.experiment or figure.shown else "")

    def figure_code(self, paper: str, name: str) -> str:
        """A hash of the code that draws a figure, the metrics that it shows included."""
        figure = self.figure(paper, name)
        families = {self.experiment(paper, e).metrics for e in figure.scores.values()}
        plugins = [f"{FIGURES}.{figure.kind}", *(f"{FAMILIES}.{family}" for family in sorted(families))]
        return code_hash("workflow_scripts.figures.draw", *plugins)

    def figures(self, paper: str) -> list[str]:
        """The pictures of a paper's figures."""
        return [self.result(paper, f"{name}.png") for name in self.paper(paper).figures]

    # claims, coverage and tracking

    def claims(self, paper: str) -> Claims:
        return Claims.check(read_yaml(self.root / "papers" / paper / "claims.yaml"), f"papers/{paper}/claims.yaml")

    def claim_tables(self, paper: str) -> dict[str, Table]:
        """The tables in which the cells of a paper's claims stand."""
        checks = [claim.compare for claim in self.claims(paper).claims]
        named = {side.table for check in checks for side in (check.left, check.right) if isinstance(side, CellAt)}
        return {name: self.table(paper, name) for name in sorted(named)}

    def claim_experiments(self, paper: str) -> list[str]:
        return list(dict.fromkeys(e for table in self.claim_tables(paper).values() for e in table.experiments()))

    def ledgers(self, paper: str) -> dict[str, Any]:
        """What is to be counted for a paper's coverage."""
        chosen = self.paper(paper)
        ledgers = []
        for alias, corpus in chosen.corpora.items():
            published = chosen.counts.get(alias, {})
            common: dict[str, Any] = {"paper": paper, "corpus": corpus, "manifest": self.manifest(corpus)}
            ledgers.append({**common, "name": alias, "clips": self.clips(corpus), "published": published})
            if self.corpus(corpus).text is not None:
                texts = {"name": f"{alias} texts", "corpus": f"{corpus}, texts", "clips": self.texts(corpus)}
                ledgers.append({**common, **texts, "published": {}})
            for level in self.levels(paper, corpus):
                files = {"name": f"{alias} {level} files", "corpus": f"{corpus}, {level} record files"}
                paths = self.ledgers_of_records(corpus, level)
                ledgers.append({**common, **files, "manifest": None, "clips": paths, "published": {}})
        return {"scale": self.scale, "ledgers": ledgers}

    def levels(self, paper: str, corpus: str) -> list[str]:
        """The levels at which a paper needs a corpus's record files."""
        features = self.paper(paper).features
        read = [self.extractor(paper, name) for name in features if self.feature_corpus(paper, name) == corpus]
        return sorted({extractor.level for extractor in read if extractor.source == "records"})

    def ledger_inputs(self, paper: str) -> list[str]:
        ledgers = self.ledgers(paper)["ledgers"]
        files = [path for ledger in ledgers for path in (ledger["manifest"], *ledger["clips"]) if path]
        return list(dict.fromkeys(files))

    def trained(self, paper: str) -> list[str]:
        """The experiments that a paper's tables need."""
        tables = [self.table(paper, name) for name in self.paper(paper).tables]
        return list(dict.fromkeys(e for table in tables for e in table.experiments()))

    def sync_options(self, paper: str) -> str:
        """All that a paper's runs have written, for tracking."""
        options = [
            f"--experiment '{name}={self.training_folder(paper, name)}/{group}'"
            for name in self.trained(paper)
            for group in self.seed_groups(paper, name)
        ]
        options += [f"--scores '{name}={self.score_folder(paper, name)}'" for name in self.trained(paper)]
        options += [f"--table '{path}'" for path in self.result_tables(paper)]
        return " ".join(options)

    def sync_inputs(self, paper: str) -> list[str]:
        files = [f"{self.score_folder(paper, name)}/scores.parquet" for name in self.trained(paper)]
        return [*files, *self.result_tables(paper), self.result(paper, "coverage.csv")]

    def result_tables(self, paper: str) -> list[str]:
        return [self.result(paper, f"{name}.csv") for name in self.paper(paper).tables]

    def result(self, *parts: str) -> str:
        return "/".join(["results", self.scale, *parts])

    def with_table(self, name: str) -> list[str]:
        """The chosen papers that have a table of this name."""
        found = [paper for paper in self.papers if name in self.paper(paper).tables]
        if not found:
            raise UserError(f"no chosen paper has a '{name}'{did_you_mean(name, self.front_doors())}")
        return found

    def front_doors(self) -> list[str]:
        """The numbered tables of the chosen papers, each name once."""
        names = {name for paper in self.papers for name in self.paper(paper).tables}
        return sorted(name for name in names if re.fullmatch(r"table\d+", name))


def with_seeds(table: Table, seeds: int | None) -> Table:
    """The table when another number of seeds is trained: the same share of them is selected."""
    if seeds is None or table.selection is None:
        return table
    best = max(1, round(table.selection.best / table.selection.of * seeds))
    return table.model_copy(update={"selection": table.selection.model_copy(update={"best": best, "of": seeds})})
