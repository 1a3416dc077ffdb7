"""Draws a table of scores: one panel a column, one line a row, the measured value with its interval, the printed one.

python -m workflow_scripts.tables.picture --table results/mini/PAPER/table3.csv --title "Table 3" --output table3.png
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.figures.style import ACCENT, INK, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(cells: pd.DataFrame) -> "Figure":
    """Measured values with intervals and printed values, rows down, columns side by side, and what is unavailable."""
    from matplotlib import pyplot as plt

    rows, columns = list(dict.fromkeys(cells["row"])), list(dict.fromkeys(cells["column"]))
    size = (max(6.8, 1.6 + 2.9 * len(columns)), 1.5 + 0.34 * len(rows))
    figure, panels = plt.subplots(1, len(columns), figsize=size, sharey=True, squeeze=False)
    for panel, column in zip(panels[0], columns, strict=True):
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
    panels[0][0].set_yticks(range(len(rows)), rows)
    panels[0][0].invert_yaxis()
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=2)
    return figure


def main(
    table: Annotated[Path, typer.Option(help="A table's CSV.")],
    title: Annotated[str, typer.Option(help="What stands above it.")],
    output: Annotated[list[Path], typer.Option(help="The picture, .png or .svg; repeated.")],
    comparable: Annotated[bool, typer.Option(help="Whether it was measured on the paper's data.")] = False,
) -> None:
    """Draw a table of scores."""
    cells = pd.read_csv(table, dtype={"group": str})
    unavailable = cells["status"] == "unavailable"
    if cells["ci_low"].isna().all():
        raise UserError(f"{table}: no cell has an interval, there is nothing to draw")
    cells = cells[cells["column"].isin(cells["column"][cells["ci_low"].notna() | unavailable])]
    names = cells["row"].where(cells["group"].isna(), cells["group"] + ": " + cells["row"])
    cells = cells.assign(row=names, published=pd.to_numeric(cells["published"], errors="coerce"))
    cells = cells[cells["measured"].notna() | cells["published"].notna() | unavailable]
    data = "" if comparable else ": other data than the paper's, the numbers are not comparable"
    save(lambda: draw(cells), title, f"scale {cells['scale'].iloc[0]}{data}", output)


if __name__ == "__main__":
    run(lambda: typer.run(main))
