"""Classification of sounds by a transformer or a convolutional network, with one head or several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.training.audio_settings import Settings

if TYPE_CHECKING:
    from workflow_scripts.training.data import Inputs


class System(Settings):
    """One experiment: its network and optimisation, and what to predict.

    It reads one feature, the reductions named `classes` and `statistics` (or ending in `_classes`, `_statistics`), and
    starts from the experiment that it uses as `initial`, if any.
    """

    def train(
        self, inputs: Inputs, seeds: list[int], folder: Path, *, checkpoints: Path, device: str, precision: str
    ) -> dict[str, Any]:
        """Trains all seeds and writes predictions, history and weights to `folder`; returns facts for params.json."""
        from workflow_scripts.training.audio_job import Job

        return Job(self, inputs, checkpoints=checkpoints, device=device, precision=precision).run(seeds, folder)
