"""Audio captioning, with or without temporal alignment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.training.caption_settings import Settings

if TYPE_CHECKING:
    from workflow_scripts.training.data import Inputs


class System(Settings):
    """One experiment: what hears, what tells, how they learn, and what to predict.

    It reads one feature of the clips and, for the alignment, temporal captions: a feature named `temporal` or
    `…_temporal`.
    """

    def train(
        self, inputs: Inputs, seeds: list[int], folder: Path, *, checkpoints: Path, device: str, precision: str
    ) -> dict[str, Any]:
        """Trains all seeds and writes predictions, history and weights to `folder`; returns facts for params.json."""
        from workflow_scripts.training.caption_job import Job

        return Job(self, inputs, checkpoints=checkpoints, device=device, precision=precision).run(seeds, folder)
