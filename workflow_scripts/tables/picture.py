"""Draws a table of scores: one panel a column, one line a row, the measured value with its interval, the printed one.

python -m workflow_scripts.tables.picture --table results/mini/PAPER/table3.csv --title "Table 3" --output table3.png
"""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.shards import atomic

MEASURED, PUBLISHED = "#b5452c", "#555555"


def draw(cells: pd.DataFrame, title: str, outputs: list[Path]) -> None:
    """Writes the picture to every path, in the format of its suffix."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = title  # the same table gives the same file
    from matplotlib import pyplot as plt

    rows, columns = list(dict.fromkeys(cells["row"])), list(dict.fromkeys(cells["column"]))
    size = (1.6 + 2.9 * len(columns), 1.5 + 0.34 * len(rows))
    figure, panels = plt.subplots(1, len(columns), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for panel, column in zip(panels[0], columns, strict=True):
        inside = cells[cells["column"] == column].set_index("row").reindex(rows)
        places = range(len(rows))
        errors = [inside["measured"] - inside["ci_low"], inside["ci_high"] - inside["measured"]]
        style = {"fmt": "o", "color": MEASURED, "markersize": 5, "elinewidth": 1.4, "capsize": 0}
        panel.errorbar(inside["measured"], places, xerr=errors, label="measured, 95 % interval", **style)
        panel.plot(inside["published"], places, "D", mfc="none", color=PUBLISHED, markersize=5, label="published")
        panel.set_title(column, fontsize=9)
        panel.set_xlabel(inside["unit"].dropna().iloc[0], fontsize=8)
        panel.tick_params(labelsize=8, length=0)
        panel.grid(axis="y", color="#e5e5e5", linewidth=0.8)
        panel.set_axisbelow(True)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.set_xlim(left=0)
    panels[0][0].set_yticks(range(len(rows)), rows, fontsize=9)
    panels[0][0].invert_yaxis()
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower right", ncols=2, fontsize=8, frameon=False)
    for output in outputs:
        with atomic(output) as temporary:
            metadata = {"Date": None} if output.suffix == ".svg" else None
            figure.savefig(temporary, format=output.suffix[1:], dpi=150, metadata=metadata)
    plt.close(figure)


def main(
    table: Annotated[Path, typer.Option(help="A table's CSV.")],
    title: Annotated[str, typer.Option(help="What stands above it.")],
    output: Annotated[list[Path], typer.Option(help="The picture, .png or .svg; repeated.")],
    comparable: Annotated[bool, typer.Option(help="Whether it was measured on the paper's data.")] = False,
) -> None:
    """Draw a table of scores."""
    cells = pd.read_csv(table)
    cells = cells[cells["ci_low"].notna()]
    if cells.empty:
        raise UserError(f"{table}: no cell has an interval, there is nothing to draw")
    data = "" if comparable else ": other data than the paper's, the numbers are not comparable"
    draw(cells, f"{title}\nscale {cells['scale'].iloc[0]}{data}", output)


if __name__ == "__main__":
    run(lambda: typer.run(main))
