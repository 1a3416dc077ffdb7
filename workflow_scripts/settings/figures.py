"""What a figure of a paper shows."""

from typing import Any, Self

from pydantic import Field, model_validator

from workflow_scripts.settings.base import Strict


class Figure(Strict):
    """One figure of a paper: a kind of picture of one trained model, of several, or of a reduction."""

    title: str = Field(description="What the figure shows")
    kind: str = Field(description="File in `workflow_scripts/figures/kinds`")
    experiment: str | None = Field(None, description="The experiment whose model is shown")
    seed: int = Field(0, ge=0, description="Which of the experiments' seeds is shown")
    scores: dict[str, str] = Field({}, description="Experiments whose scores are shown, by the label that they get")
    shown: dict[str, str] = Field({}, description="Experiments whose predictions are shown side by side, by label")
    values: str | None = Field(None, description="The reduction whose values are shown")
    settings: dict[str, Any] = Field({}, description="Settings of the kind")

    @model_validator(mode="after")
    def shows_something(self) -> Self:
        if self.experiment is None and not self.scores and not self.shown and self.values is None:
            raise ValueError("give an experiment, scores, shown or values")
        return self
