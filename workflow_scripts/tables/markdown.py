"""A table as a paper prints it: rows by columns, each cell `measured ± half-width (published)`.

An interval that is not about as long on one side of the measured value as on the other is printed as `[low, high]`.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from workflow_scripts.comparability import beside_the_paper
from workflow_scripts.tables.cells import MEASURED, OTHER_CLIPS, Cell, Place
from workflow_scripts.tables.courses import UNTRAINED
from workflow_scripts.tables.evidence import SHARED

LOPSIDED = 0.25  # of the half-width: farther from the measured value the middle of a symmetric interval does not lie
UNMEASURED = {"quoted": "quoted", "not_collected": "not collected", "unavailable": "unavailable"}
NAMES = "rows and columns bear the paper's names, also where settings are others"


def decimals(text: str) -> int:
    """How many decimals a printed number has; 2 where nothing is printed."""
    return len(text.partition(".")[2]) if text else 2


def pieces(cell: Cell) -> tuple[str, str]:
    """The value of a cell and its interval, if it has one; a number with an interval has the printed one's decimals."""
    if not cell.ci_low:
        return cell.measured or UNMEASURED[cell.status], ""
    places = decimals(cell.published)
    value, low, high = float(cell.measured), float(cell.ci_low), float(cell.ci_high)
    more = max(places, 1)
    interval = f"[{low:.{more}f}, {high:.{more}f}]" if lopsided(cell) else f"± {(high - low) / 2:.{more}f}"
    return f"{value:.{places}f}", interval


def shown(cell: Cell) -> str:
    """The text of a cell."""
    return " ".join([*filter(None, pieces(cell)), *([f"({cell.published})"] if cell.published else [])])


class Group(NamedTuple):
    """A part of a table as it is printed: its columns with their units, and its rows with None where no cell is."""

    name: str
    columns: dict[str, str]
    rows: list[tuple[str, list[Cell | None]]]

    def heads(self) -> list[str]:
        """What stands above the columns."""
        return [f"{name} ({unit})" if unit else name for name, unit in self.columns.items()]

    def texts(self) -> list[list[str]]:
        """The rows as texts, each after its label."""
        return [[label, *(shown(cell) if cell else "" for cell in row)] for label, row in self.rows]


def groups(cells: Sequence[Cell]) -> list[Group]:
    """The parts of a table, in the order of its cells."""
    found = []
    for name in dict.fromkeys(cell.group for cell in cells):
        inside = {cell.place: cell for cell in cells if cell.group == name}
        columns = {cell.column: cell.unit for cell in inside.values()}
        labels = dict.fromkeys(cell.row for cell in inside.values())
        rows = [(label, [inside.get(Place(name, label, column)) for column in columns]) for label in labels]
        found.append(Group(name, columns, rows))
    return found


def lopsided(cell: Cell) -> bool:
    """Whether a cell has an interval that is not symmetric."""
    if not cell.ci_low:
        return False
    value, low, high = float(cell.measured), float(cell.ci_low), float(cell.ci_high)
    return abs((low + high) / 2 - value) > LOPSIDED * (high - low) / 2


def on_clips(cells: Sequence[Cell]) -> list[str]:
    """Sentences on rows that do not rest on the same clips, or that were scored on a part of theirs."""
    rows: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        for part in cell.note.split("; "):
            if part.startswith(OTHER_CLIPS):
                rows[part].append(
                    f"{cell.group}, {cell.row} {cell.items}" if cell.group else f"{cell.row} {cell.items}"
                )
    found = [f"{part[0].upper()}{part[1:]}: {', '.join(dict.fromkeys(names))}." for part, names in rows.items()]
    shared = any(SHARED in cell.note for cell in cells)
    return [*found, "Scored only on the clips that all rows have."] if shared else found


def on_training(cells: Sequence[Cell]) -> list[str]:
    """A sentence on the rows whose training did not come to its end."""
    rows: dict[str, list[str]] = defaultdict(list)
    for cell in cells:
        for part in cell.note.split("; "):
            if part.startswith(UNTRAINED):
                rows[part.partition(": ")[2]].append(f"{cell.group}, {cell.row}" if cell.group else cell.row)
    found = "; ".join(f"{', '.join(dict.fromkeys(names))} ({why})" for why, names in rows.items())
    return [f"**{UNTRAINED.capitalize()}:** {found}."] if found else []


def escaped(text: str) -> str:
    return text.replace("|", "\\|")


def render(title: str, cells: Sequence[Cell]) -> str:
    """The Markdown of a table, one part for each group."""
    first = cells[0]
    measured = [cell for cell in cells if cell.status in MEASURED]
    differs = next((cell.differs for cell in measured if cell.differs), "")
    form = "measured ± half-width of its 95 % interval"
    if any(map(lopsided, measured)):
        form += ", or [low, high] of one that is not symmetric"
    parts = [
        f"# {title} ({first.paper})",
        f"**Measured at scale `{first.scale}`, {beside_the_paper(differs)}.**"
        if measured
        else "Read off the paper's model, without data.",
        f"Each cell: {form if measured else 'ours'} (published){f'; {NAMES}' if differs else ''}.",
    ]
    parts += on_clips(measured) + on_training(measured)
    for group in groups(cells):
        lines = [["", *group.heads()], ["---"] * (len(group.columns) + 1), *group.texts()]
        table = "\n".join(f"| {' | '.join(map(escaped, line))} |" for line in lines)
        parts.append(f"## {group.name}\n\n{table}" if group.name else table)
    rest = ("; ".join(part for part in cell.note.split("; ") if not part.startswith(UNTRAINED)) for cell in cells)
    notes = [f"- {note}" for note in dict.fromkeys(rest) if note]
    return "\n\n".join([*parts, "\n".join(notes)]).strip() + "\n"
