"""From settings to jobs: what each rule of the workflow needs to know, validated before any job starts.

The rules ask for paths and definitions here; a definition is the JSON that a stage's command is given, so that a job
runs again exactly when what defines it has changed.
"""

import functools
import importlib
import json
from pathlib import Path
from typing import Any

from workflow_scripts.code_hash import code_hash
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.settings import papers
from workflow_scripts.settings.assets import Asset, Catalogue
from workflow_scripts.settings.base import Strict, plugin, read_yaml
from workflow_scripts.settings.claims import CellAt, Claims
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.corpora import Corpora, Corpus
from workflow_scripts.settings.media import Audio
from workflow_scripts.settings.papers import Experiment, Feature, Paper
from workflow_scripts.settings.tables import Table

EXTRACTORS = "workflow_scripts.features.extractors"
SYSTEMS = "workflow_scripts.training.systems"
FAMILIES = "workflow_scripts.scores.families"
READERS = "workflow_scripts.corpora.readers"
COMPOSERS = "workflow_scripts.corpora.composers"
SOURCES = "workflow_scripts.tables.sources"


def as_json(values: Any) -> str:
    """A definition for a command line: compact JSON with sorted keys, the same for the same settings."""
    if isinstance(values, Strict):
        values = values.model_dump(mode="json")
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


class Plan:
    """One scale of the project in `root`. Paths are relative to the folder in which Snakemake works."""

    def __init__(self, root: Path, config: Config, scale: str) -> None:
        self.root, self.config, self.scale = root, config, scale
        self.assets: dict[str, Asset] = Catalogue.load(root / "assets.yaml").assets
        self.corpora: dict[str, Corpus] = Corpora.load(root / "corpora.yaml").corpora
        self.papers = papers.choose(root / "papers", config.papers)
        self.work = f"{config.work_dir}/{scale}"
        for name, corpus in self.corpora.items():
            self.check_corpus(name, corpus)

    def check_corpus(self, name: str, corpus: Corpus) -> None:
        where = f"corpora.yaml: {name}"
        reader = plugin(READERS, corpus.reader, f"{where}.reader").Reader
        if corpus.composer is not None:
            plugin(COMPOSERS, corpus.composer, f"{where}.composer").Composer.check(
                corpus.composition, f"{where}.composition"
            )
            return
        for role in reader.files.keys() - reader.optional - corpus.annotations.keys():
            raise UserError(f"{where}.annotations: the file '{role}' is missing")
        for role in corpus.annotations:
            if role not in reader.files:
                raise UserError(f"{where}.annotations: no file '{role}'{did_you_mean(role, reader.files)}")
            self.asset(corpus.annotations[role], f"{where}.annotations.{role}")

    # assets

    def asset(self, name: str, where: str) -> Asset:
        if name not in self.assets:
            raise UserError(f"{where}: no asset '{name}' in assets.yaml{did_you_mean(name, self.assets)}")
        return self.assets[name]

    def asset_path(self, name: str) -> str:
        return f"{self.config.work_dir}/assets/{name}/{self.asset(name, 'a rule').file_name}"

    def asset_options(self, names: list[str] | tuple[str, ...]) -> str:
        return " ".join(f"--asset '{name}={self.asset_path(name)}'" for name in names)

    # corpora

    def corpus(self, name: str) -> Corpus:
        if name not in self.corpora:
            raise UserError(f"no corpus '{name}' in corpora.yaml{did_you_mean(name, self.corpora)}")
        return self.corpora[name]

    def composer(self, name: str) -> Any:
        corpus = self.corpus(name)
        if corpus.composer is None:
            raise UserError(f"corpora.yaml: {name}: this corpus is not composed")
        return plugin(COMPOSERS, corpus.composer, name).Composer.check(corpus.composition, f"corpora.yaml: {name}")

    def composed(self, name: str) -> str:
        return f"{self.work}/corpora/{name}/composed"

    def annotations(self, name: str) -> dict[str, str]:
        """The annotation files of a corpus by the reader's names for them."""
        corpus = self.corpus(name)
        if corpus.composer is not None:
            files = plugin(READERS, corpus.reader, name).Reader.files
            return {role: f"{self.composed(name)}/{path}" for role, path in files.items()}
        return {role: self.asset_path(asset) for role, asset in corpus.annotations.items()}

    def annotation_inputs(self, name: str) -> list[str]:
        if self.corpus(name).composer is not None:
            return [f"{self.composed(name)}/COMPOSED.md"]
        return list(self.annotations(name).values())

    def manifest(self, name: str) -> str:
        return f"{self.work}/corpora/{name}/manifest.parquet"

    # media

    def media(self, corpus: str) -> str:
        return f"{self.work}/media/{corpus}"

    def audio(self, corpus: str, sample_rate: int) -> Audio:
        return Audio(sample_rate=sample_rate, clip_seconds=self.corpus(corpus).clip_seconds)

    def shards(self, corpus: str) -> range:
        return range(self.corpus(corpus).shards)

    def serve_option(self, corpus: str) -> str:
        """Composed sources, or an archive, are served on loopback while clips are cut from them."""
        folder = f"{self.composed(corpus)}/sources" if self.corpus(corpus).composer else self.corpus(corpus).archive
        return f"--serve '{folder}'" if folder else ""

    def clips(self, corpus: str) -> list[str]:
        """The files that tell which clips could be had; where nothing is fetched, the manifest itself."""
        if self.corpus(corpus).link is None:
            return [self.manifest(corpus)]
        return [f"{self.media(corpus)}/clips/{shard}.parquet" for shard in self.shards(corpus)]

    # papers

    @functools.cache  # noqa: B019 - a plan lives as long as the workflow
    def paper(self, name: str) -> Paper:
        """A paper at this scale, every plug-in's settings checked."""
        folder = self.root / "papers" / name
        if not (folder / "paper.yaml").exists():
            raise UserError(f"there is no paper '{name}'{did_you_mean(name, papers.names(self.root / 'papers'))}")
        paper = Paper.load(folder, self.scale)
        where = f"papers/{name} ({self.scale})"
        for alias, corpus in paper.corpora.items():
            if corpus not in self.corpora:
                raise UserError(
                    f"{where}: corpora.{alias}: no corpus '{corpus}' in corpora.yaml"
                    f"{did_you_mean(corpus, self.corpora)}"
                )
        for key, feature in paper.features.items():
            self.check_feature(feature, f"{where}: features.{key}")
        for key, experiment in paper.experiments.items():
            check_experiment(experiment, f"{where}: experiments.{key}")
        for sweep in paper.sweeps:
            for key, experiment in papers.swept(paper, sweep).items():
                check_experiment(experiment, f"{where}: sweeps.{key}")
        for key, table in paper.tables.items():
            checked = Table.check(table, f"{where}: tables.{key}")
            for experiment_name in checked.experiments():
                if experiment_name not in paper.experiments:
                    raise UserError(
                        f"{where}: tables.{key}: no experiment '{experiment_name}'"
                        f"{did_you_mean(experiment_name, paper.experiments)}"
                    )
        return paper

    def check_feature(self, feature: Feature, where: str) -> None:
        extractor = plugin(EXTRACTORS, feature.extractor, f"{where}.extractor").Extractor
        extractor.check(feature.settings, f"{where}.settings")
        for asset in extractor.assets:
            self.asset(asset, where)

    def experiment(self, paper: str, name: str) -> Experiment:
        """An experiment of a paper, or one that a sweep of it defines."""
        known = dict(self.paper(paper).experiments)
        for sweep in self.paper(paper).sweeps:
            known |= papers.swept(self.paper(paper), sweep)
        if name not in known:
            raise UserError(f"papers/{paper}: no experiment '{name}'{did_you_mean(name, known)}")
        return known[name]

    # features

    def feature(self, paper: str, name: str) -> Feature:
        features = self.paper(paper).features
        if name not in features:
            raise UserError(f"papers/{paper}: no feature '{name}'{did_you_mean(name, features)}")
        return features[name]

    def extractor(self, paper: str, name: str) -> Any:
        feature = self.feature(paper, name)
        return plugin(EXTRACTORS, feature.extractor, name).Extractor.check(feature.settings, name)

    def feature_corpus(self, paper: str, name: str) -> str:
        return self.paper(paper).corpora[self.feature(paper, name).corpus]

    def feature_input(self, paper: str, name: str, shard: str) -> list[str]:
        """What an extractor reads: decoded audio at its sample rate, the clips, or the corpus's own files."""
        extractor, corpus = self.extractor(paper, name), self.feature_corpus(paper, name)
        if extractor.source == "corpus":
            return [self.manifest(corpus), *self.annotation_inputs(corpus)]
        folder = f"audio-{extractor.sample_rate}" if extractor.source == "audio" else "clips"
        return [f"{self.media(corpus)}/{folder}/{shard}.parquet"]

    def feature_source(self, paper: str, name: str, shard: str) -> str:
        """The options that tell the extract command where its input is."""
        extractor, corpus = self.extractor(paper, name), self.feature_corpus(paper, name)
        clips = f"--clips '{self.feature_input(paper, name, shard)[0]}'"
        if extractor.source != "corpus":
            return f"{clips} --store '{self.media(corpus)}'"
        files = self.annotations(corpus)
        named = " ".join(f"--file '{role}={files[role]}'" for role in extractor.files)
        return f"{clips} --shard {shard} --shards {self.corpus(corpus).shards} {named}"

    def feature_folder(self, paper: str, name: str) -> str:
        return f"{self.work}/features/{paper}/{name}"

    # training and scores

    def seeds(self, paper: str, name: str) -> range:
        return range(self.config.seeds or self.experiment(paper, name).seeds)

    def seed_groups(self, paper: str, name: str) -> dict[str, list[int]]:
        """The seeds that train in one job, by the job's name."""
        seeds, size = self.seeds(paper, name), self.experiment(paper, name).seeds_per_job
        groups = [list(seeds[first : first + size]) for first in range(0, len(seeds), size)]
        return {f"seeds-{group[0]}-{group[-1]}": group for group in groups}

    def experiment_corpus(self, paper: str, name: str) -> str:
        return self.paper(paper).corpora[self.experiment(paper, name).corpus]

    def feature_shards(self, paper: str, name: str) -> list[str]:
        shards = self.shards(self.experiment_corpus(paper, name))
        features = self.experiment(paper, name).features
        return [f"{self.feature_folder(paper, feature)}/{shard}.parquet" for feature in features for shard in shards]

    def feature_options(self, paper: str, name: str) -> str:
        names = self.experiment(paper, name).features
        return " ".join(f"--features '{feature}={self.feature_folder(paper, feature)}'" for feature in names)

    def group_seeds(self, paper: str, name: str, group: str) -> str:
        groups = self.seed_groups(paper, name)
        if group not in groups:
            raise UserError(f"experiment '{name}' has no group of seeds '{group}'{did_you_mean(group, groups)}")
        return ",".join(map(str, groups[group]))

    def training_folder(self, paper: str, name: str) -> str:
        return f"{self.work}/training/{paper}/{name}"

    def training_outputs(self, paper: str, name: str, file: str) -> list[str]:
        return [f"{self.training_folder(paper, name)}/{group}/{file}" for group in self.seed_groups(paper, name)]

    def score_folder(self, paper: str, name: str) -> str:
        return f"{self.work}/scores/{paper}/{name}"

    # tables

    def table(self, paper: str, name: str) -> Table:
        """A table of a paper; `sweep_<name>` is the table of a sweep.

        A number of seeds chosen by the user keeps the paper's share of selected ones; numbers on a limited number of
        clips are not comparable with the paper's.
        """
        tables, sweeps = self.paper(paper).tables, self.paper(paper).sweeps
        sweep = name.removeprefix("sweep_")
        if name.startswith("sweep_") and sweep in sweeps:
            return papers.sweep_table(self.paper(paper), sweep)
        if name not in tables:
            known = [*tables, *(f"sweep_{sweep}" for sweep in sweeps)]
            raise UserError(f"papers/{paper}: no table '{name}'{did_you_mean(name, known)}")
        table = with_seeds(Table.check(tables[name], name), self.config.seeds)
        return table.model_copy(update={"comparable": False}) if self.config.limit and table.scores() else table

    def table_options(self, paper: str, name: str) -> str:
        """What a table is made from: scores, counts, and the paper's own settings for what is read off models."""
        table = self.table(paper, name)
        options = [f"--scores '{e}={self.score_folder(paper, e)}'" for e in table.experiments()]
        options += [f"--values '{values}={self.values(paper, values)}'" for values in table.files_of_values()]
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
        sources = {source.name for source in table.sources}
        plugins = [f"{FAMILIES}.{family}" for family in families] + [f"{SOURCES}.{source}" for source in sources]
        return code_hash("workflow_scripts.tables.make", *plugins)

    def values(self, paper: str, name: str) -> str:
        return f"{self.work}/tables/{paper}/{name}.json"

    def table_inputs(self, paper: str, name: str) -> list[str]:
        table = self.table(paper, name)
        return [f"{self.score_folder(paper, e)}/counts.parquet" for e in table.experiments()] + [
            self.values(paper, values) for values in table.files_of_values()
        ]

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
        ledgers = [
            {
                "paper": paper,
                "name": alias,
                "corpus": corpus,
                "manifest": self.manifest(corpus),
                "clips": self.clips(corpus),
                "published": chosen.counts.get(alias, {}),
            }
            for alias, corpus in chosen.corpora.items()
        ]
        return {"scale": self.scale, "ledgers": ledgers}

    def ledger_inputs(self, paper: str) -> list[str]:
        corpora = self.paper(paper).corpora.values()
        return [path for corpus in corpora for path in (self.manifest(corpus), *self.clips(corpus))]

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
        return sorted(name for name in names if name.startswith("table"))


def with_seeds(table: Table, seeds: int | None) -> Table:
    """The table when another number of seeds is trained: the same share of them is selected."""
    if seeds is None or table.selection is None:
        return table
    best = max(1, round(table.selection.best / table.selection.of * seeds))
    return table.model_copy(update={"selection": table.selection.model_copy(update={"best": best, "of": seeds})})


def check_experiment(experiment: Experiment, where: str) -> None:
    plugin(SYSTEMS, experiment.system, f"{where}.system").System.check(experiment.settings, f"{where}.settings")
    plugin(FAMILIES, experiment.metrics, f"{where}.metrics").Scorer.check(experiment.scoring, f"{where}.scoring")


def revision(package: str, name: str) -> int:
    """The declared revision of a plug-in: its jobs run again when it is raised."""
    module = importlib.import_module(f"{package}.{name}")
    kinds = ("Reader", "Composer", "Extractor", "System")
    return int(next(getattr(module, kind).revision for kind in kinds if hasattr(module, kind)))
