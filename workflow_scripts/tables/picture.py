"""Draws a table of scores: a panel for each column, a line for each row, measured with its interval, and printed."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from workflow_scripts.comparability import beside_the_paper
from workflow_scripts.errors import UserError
from workflow_scripts.figures.style import ACCENT, INK, save
from workflow_scripts.files import read_csv
from workflow_scripts.tables.cells import Cell
from workflow_scripts.tables.markdown import on_clips
from workflow_scripts.tables.plan import DrawTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ABREAST = 5  # panels, at most: more would be too small to read on a screen


def draw(cells: pd.DataFrame) -> "Figure":
    """Measured values with intervals and printed values, rows down, columns side by side, and what is unavailable."""
    from matplotlib import pyplot as plt

    rows, columns = list(dict.fromkeys(cells["row"])), list(dict.fromkeys(cells["column"]))
    abreast, lines = min(len(columns), ABREAST), math.ceil(len(columns) / ABREAST)
    size = (max(6.8, 1.6 + 2.9 * abreast), 0.5 + lines * (1 + 0.34 * len(rows)))
    figure, grid = plt.subplots(lines, abreast, figsize=size, sharey=True, squeeze=False)
    panels = grid.flatten()
    for panel in panels[len(columns) :]:
        panel.remove()
    for panel, column in zip(panels, columns, strict=False):
        inside = cells[cells["column"] == column].set_index("row").reindex(rows)
        places = range(len(rows))
        # Lines, not error bars: a percentile interval need not hold the measured value.
        panel.hlines(places, inside["ci_low"], inside["ci_high"], color=ACCENT, linewidth=1.4)
        panel.plot(inside["measured"], places, "o", color=ACCENT, markersize=5, label="measured, 95 % interval")
        panel.plot(inside["published"], places, "D", mfc="none", color=INK, markersize=5, label="published")
        for place, status in zip(places, inside["status"], strict=True):
            if status == "unavailable":
                where = panel.get_yaxis_transform()  # at the panel's left edge, beside the row
                panel.text(0.03, place, status, transform=where, va="center", fontsize=7, style="italic")
        panel.set_title(column)
        panel.set_xlabel(inside["unit"].dropna().iloc[0])
        panel.grid(axis="y")
        panel.spines["left"].set_visible(False)
        panel.set_xlim(left=0)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=2)
    return figure


def draw_table(job: DrawTable, *outputs: Path) -> None:
    """Draws a table of scores, to a `.png` and an `.svg`."""
    cells = pd.read_csv(job.cells, dtype={"group": str})
    unavailable = cells["status"] == "unavailable"
    if cells["ci_low"].isna().all():
        raise UserError(f"{job.cells}: no cell has an interval, there is nothing to draw")
    cells = cells[cells["column"].isin(cells["column"][cells["ci_low"].notna() | unavailable])]
    names = cells["row"].where(cells["group"].isna(), cells["group"] + ": " + cells["row"])
    cells = cells.assign(row=names, published=pd.to_numeric(cells["published"], errors="coerce"))
    cells = cells[cells["measured"].notna() | cells["published"].notna() | (cells["status"] == "unavailable")]
    differs = next(iter(cells["differs"].dropna()), "")
    about = f"scale {cells['scale'].iloc[0]}: {beside_the_paper(differs)}"
    clips = on_clips([Cell(**line) for _, line in read_csv(job.cells)])
    save(lambda: draw(cells), job.title, ". ".join([about, *clips]), outputs)
