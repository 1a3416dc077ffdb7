"""The jobs that train the seeds of an experiment."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.corpora.plan import manifest
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.features.plan import feature_shards, reduced
from workflow_scripts.settings import papers
from workflow_scripts.settings.papers import Experiment
from workflow_scripts.settings.plugins import SYSTEMS, plugin
from workflow_scripts.training.job import TrainingJob

if TYPE_CHECKING:
    from workflow_scripts.settings.scale import Scale

USED = ("predictions.parquet", "weights.safetensors", "params.json")  # of the experiments that another one uses


def train(scale: "Scale", paper: str, experiment: str, group: str) -> TrainingJob:
    chosen, corpus = declared(scale, paper, experiment), experiment_corpus(scale, paper, experiment)
    groups, settings = seed_groups(scale, paper, experiment), system(scale, paper, experiment)
    if group not in groups:
        raise UserError(f"experiment '{experiment}' has no group of seeds '{group}'{did_you_mean(group, groups)}")
    return TrainingJob(
        system=chosen.system,
        settings=settings,
        manifest=manifest(scale, corpus),
        features={name: feature_shards(scale, paper, name) for name in chosen.features},
        reductions={name: reduced(scale, paper, name) for name in chosen.reductions},
        uses={
            role: [path for file in USED for path in outputs(scale, paper, used, file)]
            for role, used in chosen.uses.items()
        },
        assets={**scale.asset_files(settings.assets), **settings.own_files},
        seeds=groups[group],
        clip_seconds=scale.corpus(corpus).clip_seconds,
        precision=chosen.precision or scale.config.precision,
        matmul_precision=scale.config.matmul_precision,
        device=scale.config.device,
        checkpoints=scale.config.work_dir / "checkpoints",
        processes=max(gpus(scale, paper, experiment), 1),
        nodes=chosen.cost.nodes,
    )


def declared(scale: "Scale", paper: str, name: str) -> Experiment:
    """An experiment of a paper, or one that a sweep of it defines."""
    known = scale.paper(paper).experiments
    if name in known:
        return known[name]
    for sweep in scale.paper(paper).sweeps:
        known = known | papers.swept(scale.paper(paper), sweep)
    if name not in known:
        raise UserError(f"{scale.place(paper)}: no experiment '{name}'{did_you_mean(name, known)}")
    return known[name]


def system(scale: "Scale", paper: str, name: str) -> Any:
    """The training system of an experiment with its settings."""
    experiment, where = declared(scale, paper, name), f"{scale.place(paper)} ({scale.name}): experiments.{name}"
    return plugin(SYSTEMS, experiment.system, f"{where}.system").check(experiment.settings, f"{where}.settings")


def experiment_corpus(scale: "Scale", paper: str, name: str) -> str:
    return scale.paper(paper).corpora[declared(scale, paper, name).corpus]


# seeds and jobs


def seed_groups(scale: "Scale", paper: str, name: str) -> dict[str, list[int]]:
    """The seeds that train in one job, by the job's name."""
    experiment = declared(scale, paper, name)
    seeds = range(scale.config.seeds or experiment.seeds)
    fitting = int(scale.stages.training.job_minutes // minutes(scale, paper, name))
    size = experiment.seeds_per_job or max(fitting, 1)
    groups = [list(seeds[first : first + size]) for first in range(0, len(seeds), size)]
    return {f"seeds-{group[0]}-{group[-1]}": group for group in groups}


def minutes(scale: "Scale", paper: str, name: str) -> float:
    """Minutes that a seed of an experiment trains."""
    return declared(scale, paper, name).cost.minutes or scale.stages.training.minutes


def gpus(scale: "Scale", paper: str, name: str) -> int:
    """GPUs on each node that trains an experiment."""
    asked = declared(scale, paper, name).cost.gpus
    return 0 if scale.config.device == "cpu" else scale.stages.training.gpu if asked is None else asked


def group_minutes(scale: "Scale", paper: str, name: str, group: str) -> int:
    """Minutes that the seeds of one job train."""
    return math.ceil(minutes(scale, paper, name) * len(seed_groups(scale, paper, name)[group]))


# results


def folders(scale: "Scale", paper: str, name: str) -> list[Path]:
    """The folders of an experiment's jobs."""
    return [scale.work / "training" / paper / name / group for group in seed_groups(scale, paper, name)]


def outputs(scale: "Scale", paper: str, name: str, file: str) -> list[Path]:
    """A file of each of an experiment's jobs."""
    return [folder / file for folder in folders(scale, paper, name)]


def benchmarks(scale: "Scale", paper: str, name: str) -> dict[Path, Path]:
    """Where Snakemake writes what an experiment's jobs have used, by their folders."""
    place = scale.work / "benchmarks" / "training" / paper
    return {folder: place / f"{name}-{folder.name}.tsv" for folder in folders(scale, paper, name)}


def job_of_seed(scale: "Scale", paper: str, name: str, seed: int, where: str) -> Path:
    """The folder of the job that trains a seed of an experiment, which `where` in the paper asks for."""
    groups = seed_groups(scale, paper, name)
    for folder, seeds in zip(folders(scale, paper, name), groups.values(), strict=True):
        if seed in seeds:
            return folder
    raise UserError(f"{scale.place(paper)}: {where}: seed {seed} of '{name}' is not trained; choose another `seed`")
