"""Which classes are taken for which: counts of true against predicted classes."""

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from workflow_scripts.figures.interface import FigureKind
from workflow_scripts.figures.style import ACCENT, INK

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

    from workflow_scripts.figures.material import Material


class Figure(FigureKind):
    """A confusion matrix of counts, with the most confused pairs named below."""

    needs = ("predictions", "manifest")
    split: str = Field("test", description="The clips that are counted")
    pairs: int = Field(3, ge=0, description="How many of the most confused pairs are named")

    def data(self, material: "Material") -> "pd.DataFrame":
        """Columns true, predicted, count: every pair of classes, in the model's order."""
        import pandas as pd

        found = material.decisions(self.split)
        pairs = list(zip(found.true, found.predicted, strict=True))
        rows = [
            (true, predicted, pairs.count((true, predicted))) for true in found.classes for predicted in found.classes
        ]
        return pd.DataFrame(rows, columns=["true", "predicted", "count"])

    def draw(self, data: "pd.DataFrame") -> "Canvas":
        from matplotlib.colors import LinearSegmentedColormap, PowerNorm
        from matplotlib.figure import Figure as Canvas

        classes = list(dict.fromkeys(data["true"]))
        counts = data["count"].to_numpy().reshape(len(classes), len(classes))
        canvas = Canvas(figsize=(4.9, 5.3))
        panel = canvas.subplots()
        colours = LinearSegmentedColormap.from_list("counts", ["#ffffff", "#f0c9bd", ACCENT, "#5e1f12"])
        shades = PowerNorm(0.4, vmin=0, vmax=max(counts.max(), 1))  # lets the few mistakes be seen beside the hits
        panel.imshow(counts, cmap=colours, norm=shades)
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if shades(count) > 0.6 else INK if count else "#bbbbbb"
            panel.text(column, row, str(count), ha="center", va="center", fontsize=7.5, color=colour)
        panel.set_xticks(range(len(classes)), classes)
        panel.set_yticks(range(len(classes)), classes)
        panel.spines[:].set_visible(False)
        panel.set_xlabel(f"predicted\n\n{summary(counts, classes, self.pairs)}")
        panel.set_ylabel("true")
        return canvas


def summary(counts: np.ndarray, classes: list[str], pairs: int) -> str:
    """The accuracy and the pairs of classes that are most often confused, either way."""
    total, right = int(counts.sum()), int(np.trace(counts))
    text = f"{right:,} of {total:,} clips right: {100 * right / max(total, 1):.1f} %"
    both = np.triu(counts + counts.T, 1)
    order = np.argsort(-both, axis=None, kind="stable")[:pairs]
    worst = [divmod(int(place), len(classes)) for place in order if both.flat[place]]
    named = ", ".join(f"{classes[a]} and {classes[b]} ({both[a, b]})" for a, b in worst)
    return f"{text}\nmost confused: {named}" if named else text
