"""A table as LaTeX (booktabs), each cell `measured ± half-width (published)`, as in Markdown."""

import re
from collections.abc import Sequence

from workflow_scripts.comparability import beside_the_paper
from workflow_scripts.tables.cells import MEASURED, Cell
from workflow_scripts.tables.markdown import groups

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
    for group in groups(cells):
        lines = [["", *group.heads()], *group.texts()]
        written = [f"{' & '.join(map(escaped, line))} \\\\" for line in lines]
        parts += [rf"\par\medskip {escaped(group.name)}\par"] if group.name else []
        parts += [rf"\begin{{tabular}}{{l{'r' * len(group.columns)}}}", r"\toprule", written[0], r"\midrule"]
        parts += [*written[1:], r"\bottomrule", r"\end{tabular}"]
    return "\n".join([*parts, r"\end{table}"]) + "\n"
