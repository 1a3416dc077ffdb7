"""Settings of ensembles of finished taggers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from workflow_scripts.settings.base import Strict
from workflow_scripts.training.system import Positive
from workflow_scripts.training.system import System as Base


class Forest(Strict):
    """The random forest. The paper gives its trees and that their decisions are counted; the rest is ours."""

    trees: Positive = Field(1000, description="number of trees")
    candidates: Positive = Field(20, description="best classes of each member that are put before the trees")
    fit_split: str = Field("dev", description="split to learn from, which no member may have been trained on")
    max_pairs: Positive = Field(1_000_000, description="pairs of a clip and a class to learn from")
    min_samples_leaf: Positive = Field(1, description="pairs in a leaf; more make smaller trees")


class System(Base):
    """One ensemble: the members are the experiments that it uses, each with the same seed as the ensemble."""

    predicts_from: ClassVar[tuple[str, ...]] = ()
    predicts_with_used: ClassVar[bool] = True

    method: Literal["average", "maximum", "forest"] = Field(description="how the members' scores become one")
    forest: Forest = Field(default_factory=Forest)
    require: list[Literal["title", "keywords"]] = Field([], description="texts that a clip must have to be predicted")
    predict_splits: list[str] = Field(["validation", "test"], description="splits in the predictions")
    top_k: Positive = Field(100, description="classes of each clip in the predictions")
