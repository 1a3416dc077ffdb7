"""The description of a training job."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator

from workflow_scripts.devices import Device, MatmulPrecision
from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.settings.base import MANNER
from workflow_scripts.settings.plugins import SYSTEMS, plugin
from workflow_scripts.training.system import Count, Positive, System

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]
Files = Annotated[list[Path], Field(min_length=1)]


class TrainingJob(Job):
    """Some seeds of an experiment, which are trained one after the other."""

    step = "workflow_scripts.training.step:train_job"
    expensive = True
    verbose = True

    system: str = Field(description="folder in `workflow_scripts/training/systems`")
    settings: SerializeAsAny[System]
    manifest: Annotated[Path, INPUT] = Field(description="the corpus: a row for each clip")
    features: Annotated[dict[str, Files], INPUT] = Field({}, description="the shards of features, by their names")
    reductions: Annotated[dict[str, Path], INPUT] = Field({}, description="files computed from whole features")
    uses: Annotated[dict[str, Files], INPUT] = Field(
        {}, description="what the jobs of other experiments have written, by the role that these play"
    )
    assets: Annotated[dict[str, Path], INPUT] = Field({}, description="files such as published weights")
    seeds: list[Count] = Field(min_length=1)
    clip_seconds: float = Field(gt=0, description="the seconds that every clip's features span")
    precision: Precision = Field("32-true", description="number format")
    matmul_precision: MatmulPrecision = Field("highest", description="of float32 products on GPUs; `high`: TF32")
    device: Annotated[Device, MANNER] = Field("auto", description="auto: a GPU where there is one")
    threads: Annotated[Positive, MANNER] = Field(1, description="of a CPU; rounding may differ between counts")
    checkpoints: Annotated[Path, MANNER] = Field(description="where killed runs leave what they need to go on")
    folder: Annotated[Path | None, MANNER] = Field(None, description="where histories lie while they grow")
    processes: Annotated[Positive, MANNER] = Field(1, description="on each node, that train together")
    nodes: Annotated[Positive, MANNER] = Field(1, description="that train together")

    def identity(self) -> dict[str, Any]:
        """What defines the result; of the products' precision only what is not the usual."""
        usual = self.matmul_precision == type(self).model_fields["matmul_precision"].default
        return {name: value for name, value in super().identity().items() if name != "matmul_precision" or not usual}

    @field_validator("settings", mode="before")
    @classmethod
    def of_the_system(cls, values: Any, info: ValidationInfo) -> Any:
        """The validated settings of the system that is named."""
        if isinstance(values, System):
            return values
        return plugin(SYSTEMS, info.data["system"], "system").check(values, "settings")

    @field_validator("seeds")
    @classmethod
    def distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("every seed may stand once")
        return seeds
