"""Ensembles of finished taggers: their average, their maximum, or a random forest (yt8m_text, section 3.1, table 4)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from workflow_scripts.settings.base import Strict

if TYPE_CHECKING:
    from workflow_scripts.training.data import Inputs


class Forest(Strict):
    """The random forest. The paper gives its trees and that their decisions are counted; the rest is ours."""

    trees: int = Field(1000, gt=0, description="number of trees")
    candidates: int = Field(20, gt=0, description="best classes of each member that are put before the trees")
    fit_split: str = Field("dev", description="split to learn from, which no member may have been trained on")
    max_pairs: int = Field(1_000_000, gt=0, description="pairs of a clip and a class to learn from")
    min_samples_leaf: int = Field(1, gt=0, description="pairs in a leaf; more make smaller trees")


class System(Strict):
    """One ensemble: the members are the experiments that it uses, each with the same seed as the ensemble."""

    revision: ClassVar[int] = 1  # raise it when a change of code changes results: finished runs are then trained anew

    method: Literal["average", "maximum", "forest"] = Field(description="how the members' scores become one")
    forest: Forest = Field(default_factory=Forest)
    require: list[Literal["title", "keywords"]] = Field([], description="texts that a clip must have to be predicted")
    predict_splits: list[str] = Field(["validation", "test"], description="splits in the predictions")
    top_k: int = Field(100, gt=0, description="classes of each clip in the predictions")

    def train(
        self, inputs: Inputs, seeds: list[int], folder: Path, *, checkpoints: Path, device: str, precision: str
    ) -> dict[str, Any]:
        """Combines the members' predictions and writes the result files to `folder`; returns facts for params.json."""
        from workflow_scripts.training.ensemble_job import run

        return run(self, inputs, seeds, folder)
