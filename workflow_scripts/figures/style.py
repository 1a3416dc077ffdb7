"""How all figures look, and how they are saved."""

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow_scripts.shards import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

ACCENT, INK, FAINT, LINES = "#b5452c", "#333333", "#a9a9a9", "#e5e5e5"

LINE = 0.17  # height of a line of the title, inches

STYLE: dict[Any, Any] = {
    "figure.constrained_layout.use": True,
    "font.size": 8,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": LINES,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": True,  # white, so that no line crosses its text
    "legend.framealpha": 1,
    "legend.edgecolor": "none",
    "legend.fontsize": 8,
    "savefig.dpi": 150,
    "savefig.facecolor": "white",
}


def save(draw: Callable[[], "Canvas"], title: str, note: str, outputs: Sequence[Path]) -> None:
    """Draws in the common style and writes to every path, in the format of its suffix; the same twice if asked twice.

    `title` and `note` stand above; a figure is as much higher as they have more than two lines.
    """
    import matplotlib as mpl

    with mpl.rc_context({**STYLE, "svg.hashsalt": title}):
        figure = draw()
        lines = [line for text in (title, note) for line in textwrap.wrap(text, int(12.5 * figure.get_figwidth()))]
        figure.set_figheight(figure.get_figheight() + LINE * max(len(lines) - 2, 0))
        figure.suptitle("\n".join(lines), fontsize=10, x=0.01, ha="left")
        for output in outputs:
            with atomic(output) as temporary:
                metadata = {"Date": None} if output.suffix == ".svg" else None
                figure.savefig(temporary, format=output.suffix[1:], metadata=metadata)
