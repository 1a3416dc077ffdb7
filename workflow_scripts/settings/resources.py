"""What the jobs of each stage ask a machine or a cluster for: `resources.yaml`."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.settings.base import Strict, overlay, read_yaml

# What a scale asks for: these entries of the file, each laid over the one before.
SCALES = {"full": ("full",), "pilot": ("full", "pilot"), "mini": ("full", "mini"), "smoke": ("full", "mini", "smoke")}


class Needs(Strict):
    """What one job asks for at its first attempt; memory and time grow with every further one."""

    threads: int = Field(default=1, ge=1, le=10_000, description="Processor cores")
    mem_mb: int = Field(ge=100, description="Memory, MB")
    runtime: int = Field(ge=1, description="Time limit, minutes")
    disk_mb: int = Field(default=1000, ge=0, description="Space for temporary files, MB")
    gpu: int = Field(default=0, ge=0, le=1_000, description="GPUs; of features: only where the extractor is a network")
    network: bool = Field(default=False, description="Whether it reaches beyond the machines of the cluster")


class TrainingNeeds(Needs):
    """What a training job asks for; an experiment's `cost` goes before it."""

    runtime: int = Field(ge=1, description="Minutes for what is done once a job, before and after its seeds")
    minutes: float = Field(gt=0, description="Minutes for each seed")
    job_minutes: float = Field(
        gt=0, description="As many seeds train in one job as fit into so many minutes, where no `seeds_per_job` is set"
    )
    longest: int = Field(
        1440,
        gt=0,
        description="Minutes that a job asks for at most; training that takes longer is stopped with a "
        "checkpoint, is queued again, and goes on",
    )


class Cost(Strict):
    """What training an experiment costs, where it differs from the stage `training` in `resources.yaml`."""

    minutes: float | None = Field(default=None, gt=0, description="Minutes for each seed, on the GPUs asked for")
    mem_mb: int | None = Field(default=None, ge=100, description="Memory on each node, MB")
    gpus: int | None = Field(
        default=None, ge=0, le=1_000, description="GPUs on each node; several train one network together"
    )
    nodes: int = Field(default=1, ge=1, le=10_000, description="Nodes")


class FeatureCost(Strict):
    """What a job of a feature costs, where it differs from the stage `features` in `resources.yaml`."""

    minutes: int | None = Field(default=None, ge=1, description="Time limit of a job, minutes")
    mem_mb: int | None = Field(default=None, ge=100, description="Memory, MB")
    gpu_mb: int | None = Field(
        default=None, ge=100, description="Memory that its GPU must have, MB; with less a job ends before it loads"
    )


class Stages(Strict):
    """The stages, in the order of the data's way."""

    assets: Needs = Field(description="A file that somebody else made is fetched and checked")
    unpacking: Needs = Field(description="The archives of a corpus are unpacked")
    composition: Needs = Field(description="A corpus is composed")
    annotation: Needs = Field(description="Annotation files become a manifest")
    downloads: Needs = Field(description="A shard of clips, records or texts is fetched")
    decoding: Needs = Field(description="A shard of clips becomes sound")
    features: Needs = Field(description="A shard of features is extracted")
    reductions: Needs = Field(description="Whole features become one file")
    training: TrainingNeeds = Field(description="A group of seeds is trained")
    scores: Needs = Field(description="An experiment is scored")
    tables: Needs = Field(description="A table, claims, coverage or a front door is made")
    figures: Needs = Field(description="A figure is drawn")
    tracking: Needs = Field(description="A paper is written into MLflow")
    rehearsal: Needs = Field(description="The full scale is rehearsed: cores are steps that are measured at once")

    @classmethod
    def load(cls, path: Path, scale: str, own: Path | None = None) -> Self:
        """The stages at a scale; what a file of one's own says, if it is there, is laid over the other, key by key."""
        values: dict[str, Any] = {}
        for file in [path, own] if own is not None and own.exists() else [path]:
            entries = read_yaml(file)
            for name in entries:
                if name not in SCALES:
                    raise UserError(f"{file.name}: unknown scale '{name}'{did_you_mean(name, SCALES)}")
            for name in SCALES[scale]:
                values = overlay(values, entries.get(name) or {})
            stages = cls.check(values, f"{file.name} ({scale})")
        return stages
