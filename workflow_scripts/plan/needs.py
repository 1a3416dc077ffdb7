"""What the jobs of one scale ask a machine or a cluster for."""

import math
from collections.abc import Mapping

from workflow_scripts.plan.experiments import Experiments
from workflow_scripts.settings.resources import Needs, TrainingNeeds

WARNING = 120  # seconds before its time limit at which a training job is told to write its checkpoint and leave
GROWING = ("mem_mb", "runtime")
Ask = int | str | None  # of one resource, in Snakemake's terms; None: not asked for


class Asking(Experiments):
    """The resources of jobs, from `resources.yaml` and the costs of experiments."""

    def needs(self, stage: str) -> Needs:
        needs: Needs = getattr(self.stages, stage)
        return needs

    def asks(self, stage: str, wildcards: Mapping[str, str], attempt: int) -> dict[str, Ask]:
        """What a job of a stage asks for; at each further attempt more memory and time."""
        needs = self.needs(stage)
        asks: dict[str, Ask] = {
            "mem_mb": needs.mem_mb,
            "runtime": needs.runtime,
            "disk_mb": needs.disk_mb,
            "gpu": needs.gpu,
            "network": int(needs.network),
        }
        if isinstance(needs, TrainingNeeds):
            asks |= self.training_asks(needs, wildcards["paper"], wildcards["experiment"], wildcards["group"])
        if stage == "features" and not self.extractor(wildcards["paper"], wildcards["feature"]).uses_gpu:
            asks["gpu"] = 0
        if self.config.device == "cpu":
            asks["gpu"] = 0
        return {key: ask * attempt if key in GROWING and isinstance(ask, int) else ask for key, ask in asks.items()}

    def training_asks(self, needs: TrainingNeeds, paper: str, name: str, group: str) -> dict[str, Ask]:
        """What training a group of seeds asks for: one task on each node, which starts a process for each GPU."""
        cost, gpus = self.experiment(paper, name).cost, self.gpus(paper, name)
        signal = f"--signal=TERM@{WARNING}"
        asks: dict[str, Ask] = {
            "mem_mb": cost.mem_mb or needs.mem_mb,
            "runtime": needs.runtime + math.ceil(self.minutes(paper, name) * len(self.seed_groups(paper, name)[group])),
            "gpu": gpus,
            "nodes": cost.nodes,
            "slurm_extra": signal,
            "launcher": self.launcher(paper, name),
        }
        if cost.nodes == 1:
            return asks
        spread: dict[str, Ask] = {"gpu": 0, "slurm_extra": f"{signal} --gpus-per-node={gpus}" if gpus else signal}
        return asks | spread | {"mpi": "srun", "tasks": cost.nodes}

    def gpus(self, paper: str, name: str) -> int:
        """GPUs on each node that trains an experiment."""
        gpus = self.experiment(paper, name).cost.gpus
        return 0 if self.config.device == "cpu" else self.stages.training.gpu if gpus is None else gpus

    def launcher(self, paper: str, name: str) -> str:
        """The command that trains: by itself, or in a process for each GPU of each node."""
        nodes, gpus = self.experiment(paper, name).cost.nodes, max(self.gpus(paper, name), 1)
        if nodes * gpus == 1:
            return "python -m workflow_scripts.training.train"
        launch = f"python -m workflow_scripts.training.launch --processes {gpus}"
        return f"{launch} --" if nodes == 1 else f"srun --ntasks-per-node=1 {launch} --nodes {nodes} --"
