"""Jobs: what a rule's step must know, described once by the plan of its stage.

A job's inputs are the paths in its fields marked as `INPUT`, its identity is all else but manners: a rule says neither
twice, and Snakemake runs a job again when one of the two has changed. Snakemake hands the description itself to the
step; nothing is quoted into a shell.
"""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from workflow_scripts.settings.base import MANNER, Strict, digest
from workflow_scripts.settings.code_hash import code_hash
from workflow_scripts.settings.losses import Losses

INPUT = "input"  # Annotated[…, INPUT] marks a path, or a list or mapping of paths, that must be there first


class Job(Strict):
    """Base of all descriptions of jobs."""

    step: ClassVar[str]  # what does the work, `module:function`, which is given the job and the rule's outputs
    expensive: ClassVar[bool] = False  # a result of the same identity and inputs is left as it is
    cheap: ClassVar[bool] = False  # it runs again when its code has changed
    verbose: ClassVar[bool] = False  # whether its messages go to the terminal as well as to its log

    threads: Annotated[int, MANNER] = 1

    def run(self, *outputs: Path) -> None:
        """Makes the outputs of the rule, in its order."""
        module, _, function = self.step.partition(":")
        getattr(importlib.import_module(module), function)(self, *outputs)

    def modules(self) -> list[str]:
        """The modules whose code is part of the identity."""
        return [self.step.partition(":")[0]] if self.cheap else []

    def inputs(self) -> dict[str, list[str]]:
        """The files that must be there before the job can start, by the field that names them."""
        return {name: list(map(str, paths(getattr(self, name)))) for name in self.marked(INPUT)}

    def identity(self) -> dict[str, Any]:
        """What defines the result beside the content of the inputs."""
        inputs, code = self.marked(INPUT), self.modules()
        own = {name: value for name, value in super().identity().items() if name not in inputs}
        return own | ({"code": code_hash(*code)} if code else {})

    def digest(self) -> str:
        """A short hash of the identity."""
        return digest(self.identity())

    @classmethod
    def marked(cls, mark: str) -> list[str]:
        """The fields with a mark."""
        return [name for name, field in cls.model_fields.items() if mark in field.metadata]


class StageJob(Job):
    """Base of those that make a shard of another one, clip by clip."""

    losses: Annotated[Losses, MANNER] = Losses()


def paths(value: Any) -> Iterator[Path]:
    """The paths in a path, or in a list or mapping of such; none in null."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, dict):
        yield from paths(list(value.values()))
    elif value is not None:
        yield from (path for inner in value for path in paths(inner))
