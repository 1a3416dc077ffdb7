"""Settings of the unigram baseline."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from workflow_scripts.settings.base import Strict
from workflow_scripts.training.system import Positive
from workflow_scripts.training.system import System as Base

Reading = Literal["paper", "words", "released"]


class Text(Strict):
    """Which words are read."""

    field: Literal["title", "keywords"] = Field("title", description="table 6 says titles")
    filtered: bool = Field(False, description="whether the words of a video's labels are removed")

    @property
    def column(self) -> str:
        """The column of the feature shards."""
        return f"{self.field}_filtered" if self.filtered else self.field


class System(Base):
    """One unigram model. It is a matter of counting, so that all seeds give the same."""

    text: Text = Field(default_factory=Text)
    reading: Reading = Field(
        "paper",
        description="of equation 3: as printed; with word counts below the line, so that each label's word "
        "probabilities add up to 1; or as the authors' release computes it, the prior once for every word",
    )
    alpha: float = Field(0.001, gt=0, description="added to every count")
    train_split: str = Field("train", description="split to count in")
    predict_splits: list[str] = Field(["dev", "validation", "test"], description="splits in the predictions")
    top_k: Positive = Field(100, description="classes of each clip in the predictions")
