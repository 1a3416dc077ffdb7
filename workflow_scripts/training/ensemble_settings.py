"""Settings of ensembles of finished taggers."""

from typing import ClassVar, Literal

from pydantic import Field

from workflow_scripts.settings.base import Strict


class Forest(Strict):
    """The random forest. The paper gives its trees and that their decisions are counted; the rest is ours."""

    trees: int = Field(1000, gt=0, description="number of trees")
    candidates: int = Field(20, gt=0, description="best classes of each member that are put before the trees")
    fit_split: str = Field("dev", description="split to learn from, which no member may have been trained on")
    max_pairs: int = Field(1_000_000, gt=0, description="pairs of a clip and a class to learn from")
    min_samples_leaf: int = Field(1, gt=0, description="pairs in a leaf; more make smaller trees")


class Settings(Strict):
    """One ensemble: the members are the experiments that it uses, each with the same seed as the ensemble."""

    revision: ClassVar[int] = 1  # raise it when a change of code changes results: finished runs are then trained anew

    method: Literal["average", "maximum", "forest"] = Field(description="how the members' scores become one")
    forest: Forest = Field(default_factory=Forest)
    require: list[Literal["title", "keywords"]] = Field([], description="texts that a clip must have to be predicted")
    predict_splits: list[str] = Field(["validation", "test"], description="splits in the predictions")
    top_k: int = Field(100, gt=0, description="classes of each clip in the predictions")
