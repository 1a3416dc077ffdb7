"""How well frequent and rare labels are recognised: average precision against the rank of the label by frequency."""

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.figures.interface import FigureKind
from workflow_scripts.figures.style import ACCENT, FAINT, INK

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from matplotlib.figure import Figure as Canvas

    from workflow_scripts.figures.material import Material

COLOURS = (INK, ACCENT, "#2f6f9f")  # of the series, in their order
TOP = 10  # labels whose share is named


class Figure(FigureKind):
    """A line for each of up to three experiments, above the number of training clips of each label."""

    needs = ("values", "scores")
    split: str = Field("validation", description="The clips that are scored")
    window: int = Field(100, ge=1, description="How many labels, side by side in rank, the moving average spans")
    counts: str = Field("label_counts", description="The number of training clips of each class, among the values")

    def data(self, material: "Material") -> "pd.DataFrame":
        """Columns rank, label (class number), count, series, average_precision, smoothed.

        Average precision is the mean over seeds of the class's own; empty for a class without a label in the split,
        which the moving average leaves out.
        """
        import pandas as pd

        if self.counts not in material.values:
            raise UserError(f"values: there is no '{self.counts}'{did_you_mean(self.counts, material.values)}")
        counts = np.array(material.values[self.counts])
        if not 1 <= len(material.scores) <= len(COLOURS):
            raise UserError(f"scores: needs 1 to {len(COLOURS)} experiments, found {len(material.scores)}")
        order = np.argsort(-counts, kind="stable")
        parts = []
        for series, path in material.scores.items():
            values = self.average_precision(path)
            if len(values) != len(counts):
                raise UserError(f"{path}: scores {len(values)} classes, but the values count {len(counts)}")
            part = pd.DataFrame({"rank": np.arange(1, len(order) + 1), "label": order, "count": counts[order],
                                 "series": series, "average_precision": values[order]})  # fmt: skip
            smoothed = part["average_precision"].rolling(self.window, center=True, min_periods=1).mean()
            parts.append(part.assign(smoothed=smoothed))
        return pd.concat(parts, ignore_index=True)

    def average_precision(self, path: "Path") -> np.ndarray:
        """Of each class, the mean over the seeds of one experiment: (classes,)."""
        from workflow_scripts.scores.counts import Counted

        counted = Counted.open(path)
        seeds = [
            counted.scorer.class_average_precision(counted.records(seed, self.split))
            for seed in counted.seeds(self.split)
        ]
        return np.mean(seeds, axis=0)

    def draw(self, data: "pd.DataFrame") -> "Canvas":
        from matplotlib.figure import Figure as Canvas

        canvas = Canvas(figsize=(5.9, 4.2))
        upper, lower = canvas.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
        ends = {}
        for colour, (series, part) in zip(COLOURS, data.groupby("series", sort=False), strict=False):
            upper.plot(part["rank"], 100 * part["smoothed"], color=colour, linewidth=1.3)
            ends[str(series)] = (100 * part["smoothed"].dropna().iloc[-1], colour)
        upper.set_ylabel(f"average precision (%),\nmoving average of {self.window} labels")
        upper.set_ylim(bottom=0)
        upper.grid(axis="y")
        lowest = 0.0
        for series, (end, colour) in sorted(ends.items(), key=lambda item: item[1][0]):
            lowest = max(end, lowest)
            upper.annotate(series, (1, lowest), (5, 0), xycoords=upper.get_yaxis_transform(), va="center", color=colour,
                           textcoords="offset points", annotation_clip=False)  # fmt: skip
            lowest += 0.06 * upper.get_ylim()[1]  # so that no two names touch

        first = data[data["series"] == data["series"].iloc[0]]
        lower.fill_between(first["rank"], first["count"], step="mid", color=FAINT, linewidth=0)
        lower.set_yscale("symlog", linthresh=1)
        lower.set_ylim(bottom=0)
        lower.set_ylabel("training clips")
        share = first["count"].iloc[:TOP].sum() / max(first["count"].sum(), 1)
        text = f"the {TOP} most frequent labels: {100 * share:.0f} % of all label appearances"
        lower.text(0.99, 0.97, text, transform=lower.transAxes, ha="right", va="top")
        shown = data.loc[(data["count"] > 0) | data["smoothed"].notna(), "rank"]
        lower.set_xlim(0.5, shown.max() + 0.5)
        lower.set_xlabel("label, by rank of its frequency in training")
        return canvas
