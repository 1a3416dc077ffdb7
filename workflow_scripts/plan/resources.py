"""What the jobs of one scale ask a machine or a cluster for."""

from collections.abc import Mapping

from workflow_scripts.features.plan import extractor
from workflow_scripts.settings.resources import Needs, TrainingNeeds
from workflow_scripts.settings.scale import Scale
from workflow_scripts.training import plan as training

WARNING = 120  # seconds before its time limit at which a training job is told to write its checkpoint and leave
GROWING = ("mem_mb", "runtime")
Ask = int | str | None  # of one resource, in Snakemake's terms; None: not asked for


def needs(scale: Scale, stage: str) -> Needs:
    found: Needs = getattr(scale.stages, stage)
    return found


def asks(scale: Scale, stage: str, wildcards: Mapping[str, str], attempt: int) -> dict[str, Ask]:
    """What a job of a stage asks for, from `resources.yaml` and the costs of experiments; more at further attempts."""
    own = needs(scale, stage)
    found: dict[str, Ask] = {key: int(getattr(own, key)) for key in Needs.model_fields}
    if isinstance(own, TrainingNeeds):
        found |= training_asks(scale, own, wildcards["paper"], wildcards["experiment"], wildcards["group"])
    if stage == "features":
        found |= feature_asks(scale, own, wildcards["paper"], wildcards["feature"])
    if scale.config.device == "cpu":
        found["gpu"] = 0
    found = {key: ask * attempt if key in GROWING and isinstance(ask, int) else ask for key, ask in found.items()}
    if isinstance(own, TrainingNeeds):
        found["runtime"] = min(int(found["runtime"] or 0), own.longest)
    return found


def feature_asks(scale: Scale, own: Needs, paper: str, feature: str) -> dict[str, Ask]:
    """What a job of a feature asks for; a GPU, and memory of it, only where its extractor is a network."""
    cost = scale.declared(paper, "features", feature).cost
    gpu = own.gpu if scale.config.device != "cpu" and extractor(scale, paper, feature).uses_gpu else 0
    return {
        "mem_mb": cost.mem_mb or own.mem_mb,
        "runtime": cost.minutes or own.runtime,
        "gpu": gpu,
        "gpu_mb": cost.gpu_mb if gpu else None,
    }


def training_asks(scale: Scale, own: TrainingNeeds, paper: str, experiment: str, group: str) -> dict[str, Ask]:
    """What training a group of seeds asks for: one task on each node, which starts a process for each GPU."""
    cost, gpus = training.declared(scale, paper, experiment).cost, training.gpus(scale, paper, experiment)
    signal = f"--signal=TERM@{WARNING}"
    found: dict[str, Ask] = {
        "mem_mb": cost.mem_mb or own.mem_mb,
        "runtime": own.runtime + training.group_minutes(scale, paper, experiment, group),
        "gpu": gpus,
        "nodes": cost.nodes,
        "slurm_extra": signal,
    }
    if cost.nodes == 1:
        return found
    spread: dict[str, Ask] = {"gpu": 0, "slurm_extra": f"{signal} --gpus-per-node={gpus}" if gpus else signal}
    return found | spread | {"mpi": "srun", "tasks": cost.nodes}
