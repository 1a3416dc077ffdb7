"""A table as LaTeX (booktabs), each cell `measured ± half-width (published)`, as in Markdown."""

import re
from collections.abc import Sequence

from workflow_scripts.comparability import beside_the_paper
from workflow_scripts.tables.cells import MEASURED, Cell, Place
from workflow_scripts.tables.markdown import shown

SPECIAL = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": r"$-$",
    "→": r"$\to$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
}


def escaped(text: str) -> str:
    """The text as LaTeX prints it."""
    return re.sub("|".join(map(re.escape, SPECIAL)), lambda found: SPECIAL[found[0]], text)


def render(title: str, cells: Sequence[Cell]) -> str:
    """The LaTeX of a table, one `tabular` for each group; it needs the package booktabs."""
    first = cells[0]
    differs = next((cell.differs for cell in cells if cell.status in MEASURED and cell.differs), "")
    about = f"Scale {first.scale}, {beside_the_paper(differs)}. Each cell: measured ± half-width of its 95 % interval "
    parts = [r"\begin{table}", r"\centering", rf"\caption{{{escaped(f'{title}. {about}(published).')}}}"]
    for group in dict.fromkeys(cell.group for cell in cells):
        inside = {cell.place: cell for cell in cells if cell.group == group}
        columns = {cell.column: cell.unit for cell in inside.values()}
        heads = ["", *(f"{name} ({unit})" if unit else name for name, unit in columns.items())]
        lines = [heads] + [
            [row, *(shown(cell) if (cell := inside.get(Place(group, row, column))) else "" for column in columns)]
            for row in dict.fromkeys(cell.row for cell in inside.values())
        ]
        written = [f"{' & '.join(map(escaped, line))} \\\\" for line in lines]
        parts += [rf"\par\medskip {escaped(group)}\par"] if group else []
        parts += [rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule", written[0], r"\midrule"]
        parts += [*written[1:], r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*parts, r"\end{table}"]) + "\n"
