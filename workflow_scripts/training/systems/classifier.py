"""Classification of clips from pictures, raw sounds, or both, with early stopping."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.training.classifier_settings import Settings

if TYPE_CHECKING:
    from workflow_scripts.training.data import Inputs


class System(Settings):
    """One experiment: its classes, network and optimisation, and what to predict."""

    def train(
        self, inputs: Inputs, seeds: list[int], folder: Path, *, checkpoints: Path, device: str, precision: str
    ) -> dict[str, Any]:
        """Trains all seeds and writes predictions, history and weights to `folder`; returns facts for params.json."""
        from workflow_scripts.training.classifier_job import Job

        return Job(self, inputs, checkpoints=checkpoints, device=device, precision=precision).run(seeds, folder)
