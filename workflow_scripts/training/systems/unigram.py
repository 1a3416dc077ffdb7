"""The unigram baseline: a Bayesian guess of the labels from the words of a title or of keywords (yt8m_text, 3.2)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.training.unigram_settings import Settings

if TYPE_CHECKING:
    from workflow_scripts.training.data import Inputs


class System(Settings):
    """One unigram model. It is a matter of counting, so that all seeds give the same."""

    def train(
        self, inputs: Inputs, seeds: list[int], folder: Path, *, checkpoints: Path, device: str, precision: str
    ) -> dict[str, Any]:
        """Counts, predicts, and writes the result files to `folder`; returns facts for params.json."""
        from workflow_scripts.training.unigram_job import run

        return run(self, inputs, seeds, folder)
