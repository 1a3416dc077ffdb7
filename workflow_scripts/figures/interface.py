"""What a kind of figure is.

A kind is one file in `kinds/` with one class `Figure`: its fields are the settings, `data` turns the files of a
training run into the numbers that are drawn, and `draw` draws those and nothing else. Heavy libraries are imported in
these two only, because settings are checked while planning.
"""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from workflow_scripts.settings.base import Plugin

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

    from workflow_scripts.figures.material import Material


class FigureKind(Plugin, ABC):
    """Settings of a kind of figure, its data and its looks."""

    needs: ClassVar[tuple[Literal["history", "predictions", "manifest", "weights", "scores", "shown", "values"], ...]]

    def streams(self) -> tuple[str, ...]:
        """The features that are shown."""
        return ()

    @abstractmethod
    def data(self, material: "Material") -> "pd.DataFrame":
        """The numbers to draw, one row each; `UserError` when the files do not hold them."""

    @abstractmethod
    def draw(self, data: "pd.DataFrame") -> "Canvas":
        """The figure, without its title."""
