"""Papers, features, training and scores of one scale."""

import functools
from typing import Any

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.plan.checks import check_experiment, check_figure, check_table
from workflow_scripts.plan.sources import Sources
from workflow_scripts.settings import papers
from workflow_scripts.settings.papers import Experiment, Feature, Paper, Reduction
from workflow_scripts.settings.plugins import EXTRACTORS, FAMILIES, REDUCERS, plugin


class Experiments(Sources):
    """What is trained at one scale."""

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
        for key, reduction in paper.reductions.items():
            self.check_reduction(reduction, f"{where}: reductions.{key}")
        for key, experiment in paper.experiments.items():
            for asset in check_experiment(experiment, f"{where}: experiments.{key}"):
                self.asset(asset, f"{where}: experiments.{key}.settings")
        for sweep in paper.sweeps:
            for key, experiment in papers.swept(paper, sweep).items():
                check_experiment(experiment, f"{where}: sweeps.{key}")
        for key, table in paper.tables.items():
            check_table(paper, table, f"{where}: tables.{key}")
        for key, figure in paper.figures.items():
            check_figure(paper, figure, f"{where}: figures.{key}")
        return paper

    def check_feature(self, feature: Feature, where: str) -> None:
        extractor = plugin(EXTRACTORS, feature.extractor, f"{where}.extractor")
        for asset in extractor.check(feature.settings, f"{where}.settings").assets:
            self.asset(asset, where)

    def check_reduction(self, reduction: Reduction, where: str) -> None:
        reducer = plugin(REDUCERS, reduction.reducer, f"{where}.reducer")
        for asset in reducer.check(reduction.settings, f"{where}.settings").assets:
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
        return plugin(EXTRACTORS, feature.extractor, name).check(feature.settings, name)

    def feature_corpus(self, paper: str, name: str) -> str:
        return self.paper(paper).corpora[self.feature(paper, name).corpus]

    def feature_input(self, paper: str, name: str, shard: str) -> list[str]:
        """What an extractor reads: audio, clips, captions, the corpus's own files, its record files or its texts."""
        extractor, corpus = self.extractor(paper, name), self.feature_corpus(paper, name)
        if extractor.source == "captions":
            return [self.manifest(corpus), *self.hub_models(extractor).values()]
        if extractor.source == "corpus":
            return [self.manifest(corpus), *self.annotation_inputs(corpus)]
        if extractor.source in ("records", "text"):
            return [self.record_source(extractor, corpus, shard), self.manifest(corpus)]
        folder = f"audio-{extractor.sample_rate}" if extractor.source == "audio" else "clips"
        return [f"{self.media(corpus)}/{folder}/{shard}.parquet"]

    def record_source(self, extractor: Any, corpus: str, shard: str) -> str:
        """The shard that an extractor of records or texts reads."""
        folder = f"{self.media(corpus)}/text" if extractor.source == "text" else self.records(corpus, extractor.level)
        return f"{folder}/{shard}.parquet"

    def feature_command(self, paper: str, name: str, shard: str) -> str:
        """The command that extracts a feature, with the options that tell it where its input is."""
        extractor, corpus = self.extractor(paper, name), self.feature_corpus(paper, name)
        part = f"--shard {shard} --shards {self.corpus(corpus).shards}"
        if extractor.source == "captions":
            store = f"{self.config.work_dir}/answers"  # of all papers and scales: an answer is stored by what was asked
            models = [f" --asset '{model}={path}'" for model, path in self.hub_models(extractor).items()]
            return f"captions.rewrite --manifest '{self.manifest(corpus)}' --store '{store}' {part}{''.join(models)}"
        chosen = f"--extractor {self.feature(paper, name).extractor}"
        if extractor.source in ("records", "text"):
            return (
                f"features.extract_records {chosen} {self.reading(corpus)} --manifest '{self.manifest(corpus)}'"
                f" --source '{self.record_source(extractor, corpus, shard)}'"
            )
        clips = f"--clips '{self.feature_input(paper, name, shard)[0]}'"
        length = f"--clip-seconds {self.corpus(corpus).clip_seconds}"
        common = f"features.extract {chosen} {length} --device {self.config.device} {clips}"
        if extractor.source != "corpus":
            return f"{common} --store '{self.media(corpus)}'"
        files = self.annotations(corpus)
        named = " ".join(f"--file '{role}={files[role]}'" for role in extractor.files)
        return f"{common} {part} {named}"

    def hub_models(self, extractor: Any) -> dict[str, str]:
        """Of each model on the hub that an extractor needs, by name, the file that stands by what was fetched of it."""
        return {name: self.hub_model(name, revision) for name, revision in extractor.hub_models.items()}

    def feature_folder(self, paper: str, name: str) -> str:
        return f"{self.work}/features/{paper}/{name}"

    def feature_shards(self, paper: str, name: str) -> list[str]:
        shards = self.shards(self.feature_corpus(paper, name))
        return [f"{self.feature_folder(paper, name)}/{shard}.parquet" for shard in shards]

    # reductions

    def reduction(self, paper: str, name: str) -> Reduction:
        reductions = self.paper(paper).reductions
        if name not in reductions:
            raise UserError(f"papers/{paper}: no reduction '{name}'{did_you_mean(name, reductions)}")
        return reductions[name]

    def reducer(self, paper: str, name: str) -> Any:
        reduction = self.reduction(paper, name)
        return plugin(REDUCERS, reduction.reducer, name).check(reduction.settings, name)

    def reduction_corpus(self, paper: str, name: str) -> str:
        return self.feature_corpus(paper, self.reduction(paper, name).feature)

    def reduced(self, paper: str, name: str) -> str:
        """The file that a reduction makes."""
        return f"{self.work}/features/{paper}/{name}{self.reducer(paper, name).suffix}"

    # training and scores

    def seeds(self, paper: str, name: str) -> range:
        return range(self.config.seeds or self.experiment(paper, name).seeds)

    def seed_groups(self, paper: str, name: str) -> dict[str, list[int]]:
        """The seeds that train in one job, by the job's name."""
        seeds, size = self.seeds(paper, name), self.seeds_per_job(paper, name)
        groups = [list(seeds[first : first + size]) for first in range(0, len(seeds), size)]
        return {f"seeds-{group[0]}-{group[-1]}": group for group in groups}

    def seeds_per_job(self, paper: str, name: str) -> int:
        """How many seeds train in one job: as the experiment says, or as many as fit into the stage's `job_minutes`."""
        fitting = int(self.stages.training.job_minutes // self.minutes(paper, name))
        return self.experiment(paper, name).seeds_per_job or max(fitting, 1)

    def minutes(self, paper: str, name: str) -> float:
        """Minutes that a seed of an experiment trains."""
        return self.experiment(paper, name).cost.minutes or self.stages.training.minutes

    def experiment_corpus(self, paper: str, name: str) -> str:
        return self.paper(paper).corpora[self.experiment(paper, name).corpus]

    def training_assets(self, paper: str, name: str) -> tuple[str, ...]:
        """The assets that an experiment's system needs, such as published weights."""
        return check_experiment(self.experiment(paper, name), name)

    def training_inputs(self, paper: str, name: str) -> list[str]:
        """Features, reductions, and what the experiments that are used have written."""
        experiment = self.experiment(paper, name)
        return [
            *(path for feature in experiment.features for path in self.feature_shards(paper, feature)),
            *(self.reduced(paper, reduction) for reduction in experiment.reductions),
            *(self.asset_path(asset) for asset in self.training_assets(paper, name)),
            *(
                path
                for used in experiment.uses.values()
                for file in ("predictions.parquet", "weights.safetensors")
                for path in self.training_outputs(paper, used, file)
            ),
        ]

    def training_options(self, paper: str, name: str) -> str:
        """The options that tell the train command where its input is."""
        experiment = self.experiment(paper, name)
        options = [f"--features '{feature}={self.feature_folder(paper, feature)}'" for feature in experiment.features]
        options += [f"--reduction '{name}={self.reduced(paper, name)}'" for name in experiment.reductions]
        options += [f"--uses '{role}={self.training_folder(paper, used)}'" for role, used in experiment.uses.items()]
        return " ".join([*options, self.asset_options(self.training_assets(paper, name))])

    def group_seeds(self, paper: str, name: str, group: str) -> str:
        groups = self.seed_groups(paper, name)
        if group not in groups:
            raise UserError(f"experiment '{name}' has no group of seeds '{group}'{did_you_mean(group, groups)}")
        return ",".join(map(str, groups[group]))

    def training_folder(self, paper: str, name: str) -> str:
        return f"{self.work}/training/{paper}/{name}"

    def training_outputs(self, paper: str, name: str, file: str) -> list[str]:
        return [f"{self.training_folder(paper, name)}/{group}/{file}" for group in self.seed_groups(paper, name)]

    def scoring_assets(self, paper: str, name: str) -> tuple[str, ...]:
        """The assets that an experiment's metrics need, such as a parser's model."""
        experiment, where = self.experiment(paper, name), f"papers/{paper}: experiments.{name}"
        scorer = plugin(FAMILIES, experiment.metrics, f"{where}.metrics")
        assets: tuple[str, ...] = scorer.check(experiment.scoring, f"{where}.scoring").assets
        for asset in assets:
            self.asset(asset, f"{where}.scoring")
        return assets

    def job_of_seed(self, paper: str, name: str, seed: int, where: str) -> str:
        """The folder of the training job that trains a seed of an experiment, which `where` in the paper asks for."""
        groups = self.seed_groups(paper, name)
        group = next((group for group, seeds in groups.items() if seed in seeds), None)
        if group is None:
            raise UserError(f"papers/{paper}: {where}: seed {seed} of '{name}' is not trained; choose another `seed`")
        return f"{self.training_folder(paper, name)}/{group}"

    def score_folder(self, paper: str, name: str) -> str:
        return f"{self.work}/scores/{paper}/{name}"
