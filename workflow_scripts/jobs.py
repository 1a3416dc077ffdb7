"""Jobs: what a rule's step must know, described once by the plan of its stage.

A job's inputs are the paths in its fields marked as `INPUT`, and its identity is all else but manners, so that a rule
says neither twice: Snakemake runs a job again when an input or the identity has changed. It is handed to the step as it
is, or travels as JSON.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflow_scripts.settings.base import Strict, digest

INPUT = "input"  # Annotated[…, INPUT] marks a path, or a list or mapping of paths, that must be there first


class Job(Strict):
    """Base of all descriptions of jobs."""

    @classmethod
    def fields_marked(cls, mark: str) -> list[str]:
        return [name for name, field in cls.model_fields.items() if mark in field.metadata]

    def inputs(self) -> dict[str, list[str]]:
        """The files that must be there before the job can start, by the field that names them."""
        return {name: list(map(str, paths(getattr(self, name)))) for name in self.fields_marked(INPUT)}

    def identity(self) -> dict[str, Any]:
        """What defines the result beside the content of the inputs."""
        inputs = self.fields_marked(INPUT)
        return {name: value for name, value in super().identity().items() if name not in inputs}

    def digest(self) -> str:
        """A short hash of the identity."""
        return digest(self.identity())


def paths(value: Any) -> Iterator[Path]:
    """The paths in a value, in their order; none in null."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, dict):
        yield from (path for inner in value.values() for path in paths(inner))
    elif value is not None:
        yield from (path for inner in value for path in paths(inner))
