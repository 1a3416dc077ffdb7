"""Tagging of videos with many labels from picture, sound and text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.training.tagger_settings import Settings

if TYPE_CHECKING:
    from workflow_scripts.training.data import Inputs


class System(Settings):
    """One experiment: its network and optimisation, and what to predict."""

    def train(
        self, inputs: Inputs, seeds: list[int], folder: Path, *, checkpoints: Path, device: str, precision: str
    ) -> dict[str, Any]:
        """Trains all seeds and writes predictions, history and weights to `folder`; returns facts for params.json."""
        from workflow_scripts.training.tagger_job import Job

        return Job(self, inputs, checkpoints=checkpoints, device=device, precision=precision).run(seeds, folder)
