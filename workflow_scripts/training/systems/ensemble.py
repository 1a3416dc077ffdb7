"""Ensembles of finished taggers: their average, their maximum, or a random forest (yt8m_text, section 3.1, table 4)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.training.ensemble_settings import Settings

if TYPE_CHECKING:
    from workflow_scripts.training.data import Inputs


class System(Settings):
    """One ensemble: the members are the experiments that it uses, each with the same seed as the ensemble."""

    def train(
        self, inputs: Inputs, seeds: list[int], folder: Path, *, checkpoints: Path, device: str, precision: str
    ) -> dict[str, Any]:
        """Combines the members' predictions and writes the result files to `folder`; returns facts for params.json."""
        from workflow_scripts.training.ensemble_job import run

        return run(self, inputs, seeds, folder)
