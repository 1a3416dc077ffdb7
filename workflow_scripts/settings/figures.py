"""What a figure of a paper shows."""

from typing import Any

from pydantic import Field

from workflow_scripts.settings.base import Strict


class Figure(Strict):
    """One figure of a paper: a kind of picture of one trained model."""

    title: str = Field(description="What the figure shows")
    kind: str = Field(description="File in `workflow_scripts/figures/kinds`")
    experiment: str = Field(description="The experiment whose model is shown")
    seed: int = Field(0, ge=0, description="Which of the experiment's seeds is shown")
    settings: dict[str, Any] = Field({}, description="Settings of the kind")
