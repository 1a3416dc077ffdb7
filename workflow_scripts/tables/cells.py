"""The cells of a table: what the paper prints beside what was measured."""

import csv
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from workflow_scripts.errors import UserError
from workflow_scripts.files import csv_columns, read_csv
from workflow_scripts.metrics import bootstrap
from workflow_scripts.scores.counts import Clips
from workflow_scripts.settings.plugins import ANALYTIC, plugin
from workflow_scripts.settings.tables import FACTORS, Difference, Fact, Row, Score, Selection, Statistic, Table
from workflow_scripts.shards import atomic
from workflow_scripts.tables.evidence import Evidence, Side, describe


class Place(NamedTuple):
    """Where a cell stands in its table."""

    group: str
    row: str
    column: str

    def __str__(self) -> str:
        return ", ".join(part for part in self if part)


@dataclass(frozen=True)
class Cell:
    """One line of a table's CSV; numbers as text, in the paper's unit."""

    paper: str
    table: str
    group: str
    row: str
    column: str
    unit: str = ""
    published: str = ""
    published_ci: str = ""
    measured: str = ""
    ci_low: str = ""
    ci_high: str = ""
    seeds: str = ""
    items: str = ""
    scale: str = ""
    status: str = ""
    note: str = ""
    differs: str = ""  # why measured and published may not be compared

    @property
    def place(self) -> Place:
        """Where it stands."""
        return Place(self.group, self.row, self.column)


HEADER = [field.name for field in fields(Cell)]
MEASURED = ("measured", "statistic")  # the states of cells that rest on data
OTHER_CLIPS = "rows rest on different clips"
BOUNDS = {"ci_low": "low", "ci_high": "high"}  # columns, and what ratings call them
PUBLISHED = ["table", "group", "row", "column", "unit", "value", "ci", "note"]


def number(value: Any) -> str:
    """A value as the text of a cell: floats to 4 decimals."""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def read_published(path: Path) -> dict[tuple[str, Place], dict[str, str]]:
    """The printed cells by table and place; each may stand once only."""
    cells: dict[tuple[str, Place], dict[str, str]] = {}
    if csv_columns(path) != PUBLISHED:
        raise UserError(f"{path}: its first line must be {','.join(PUBLISHED)}")
    for number, line in read_csv(path, exact=True):
        key = line["table"], Place(line["group"], line["row"], line["column"])
        if key in cells:
            raise UserError(f"{path}, line {number}: the cell {key[1]} stands twice")
        cells[key] = line
    return cells


class Maker:
    """Makes the cells of one table, on the clips that each has, or, with `common`, that all of its scores have.

    `courses` are notes on how the training of experiments went.
    """

    def __init__(
        self,
        definition: Table,
        evidence: Evidence,
        blank: Cell,
        common: bool = False,
        courses: Mapping[str, str] | None = None,
    ) -> None:
        self.definition, self.evidence, self.blank = definition, evidence, blank
        self.courses = courses or {}
        self.within = evidence.common(definition.scores()) if common else {}
        self.rest_on: dict[Place, Clips] = {}  # of the scores that were measured

    def cells(
        self, values: Mapping[str, Any], settings: Mapping[str, dict[str, Any]], facts: Mapping[str, Sequence[Any]]
    ) -> list[Cell]:
        """All cells that the definition names; `facts` are what each training job of an experiment reports."""
        made = list(self.made(values, settings, facts))
        notes = different(self.rest_on)
        return [replace(cell, note=joined(cell.note, notes.get(cell.place, ""))) for cell in made]

    def made(
        self, values: Mapping[str, Any], settings: Mapping[str, dict[str, Any]], facts: Mapping[str, Sequence[Any]]
    ) -> Iterator[Cell]:
        """The same, each without what follows from the others."""
        yield from self.scores(self.definition.selection)
        for single in self.definition.cells:
            base = replace(self.blank, group=single.group, row=single.row, column=single.column, unit=single.unit)
            if isinstance(single, Difference):
                yield self.measured(base, single.left, single.right, self.definition.selection)
            elif isinstance(single, Fact):
                yield reported(base, single, facts.get(single.experiment, []))
            else:
                yield statistic(base, single, values)
        for part in self.definition.analytic:
            found = plugin(ANALYTIC, part.name, self.blank.table)().cells(settings[part.experiment])
            for (row, column), text in found.items():
                place = replace(self.blank, group=part.group, row=part.row or row, column=column)
                yield replace(place, measured=number(text), status="analytic", note=f"read off {part.experiment}")

    def scores(self, selection: Selection | None) -> Iterator[Cell]:
        """Rows times columns."""
        for row in self.definition.rows:
            for column in self.definition.columns:
                base = replace(self.blank, group=row.group, row=row.label, column=column.label, unit=column.unit)
                yield self.score(base, row, Score(experiment=row.experiment or "", metric=column.metric,
                                                  split=column.split), selection)  # fmt: skip

    def score(self, base: Cell, row: Row, score: Score, selection: Selection | None) -> Cell:
        """One score, or the row's reason for having none."""
        if row.status is not None:
            return replace(base, status=row.status, note=row.note)
        cell = self.measured(base, score, None, selection)
        return replace(cell, note=joined(row.note, cell.note))

    def measured(self, base: Cell, left: Score, right: Score | None, selection: Selection | None) -> Cell:
        """A score or a difference of two, with its interval."""
        for score in (left, right):
            if score is not None and score.experiment not in self.evidence.scored:
                return replace(base, status="not_collected", note=f"experiment {score.experiment} was not scored")
        sides = [Side(score, selection, within=self.within) for score in (left, right) if score is not None]
        estimate, on = self.evidence.measured(*sides)
        if estimate is None:
            return replace(base, status="unavailable", note=on)
        self.rest_on[base.place] = estimate.clips
        estimate = estimate.times(FACTORS.get(base.unit, 1.0))
        low, high = bootstrap.interval(estimate.replicates)
        return replace(
            base,
            measured=number(estimate.value),
            ci_low=number(low),
            ci_high=number(high),
            seeds=str(estimate.seeds),
            items=str(estimate.items),
            status="measured",
            note=joined(
                describe(selection, estimate.seeds),
                f"difference {on}" if right else on,
                *dict.fromkeys(self.courses.get(score.experiment, "") for score in (left, right) if score is not None),
            ),
        )


def different(rest_on: Mapping[Place, Clips]) -> dict[Place, str]:
    """A note for each cell whose table has cells on other clips of the same split."""
    notes: dict[Place, str] = {}
    for origin in {clips.origin for clips in rest_on.values()}:
        found = {place: clips for place, clips in rest_on.items() if clips.origin == origin}
        common = functools.reduce(Clips.common, found.values())
        if any(clips != common for clips in found.values()):
            notes |= dict.fromkeys(found, f"{OTHER_CLIPS}, {len(common)} of which all have")
    return notes


def joined(*notes: str) -> str:
    """The notes that say something, as one."""
    return "; ".join(note for note in notes if note)


def value_at(values: Mapping[str, Any], single: Statistic) -> Any:
    """What a statistic's file of values holds at its key, or None."""
    found: Any = values.get(single.values)
    for step in single.key.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def statistic(base: Cell, single: Statistic, values: Mapping[str, Any]) -> Cell:
    """A cell read from a file of values: a number, or a mean of ratings with its interval, if it has one."""
    found = value_at(values, single)
    if found is None:
        return replace(base, status="not_collected", note=f"no value {single.values}.{single.key}")
    factor = FACTORS.get(base.unit)

    def scaled(value: Any) -> str:
        return number(value if factor is None else value * factor)

    if isinstance(found, dict):
        bounds = {name: "" if found[key] is None else scaled(found[key]) for name, key in BOUNDS.items()}
        return replace(base, measured=scaled(found["value"]), **bounds, items=str(found["items"]), status="measured",
                       note=f"rated by {found['raters']}")  # fmt: skip
    return replace(base, measured=scaled(found), status="statistic")


def reported(base: Cell, single: Fact, jobs: Sequence[Any]) -> Cell:
    """A cell of what the training jobs report: a number of each seed, averaged, or one that all jobs agree on."""
    of_jobs = [job[single.key] for job in jobs if single.key in job]
    of_seeds = [value for found in of_jobs if isinstance(found, dict) for value in found.values()]
    factor = FACTORS.get(base.unit, 1.0)
    if of_seeds:
        mean = factor * sum(of_seeds) / len(of_seeds)
        return replace(base, measured=number(float(mean)), seeds=str(len(of_seeds)), status="statistic")
    if not of_jobs:
        return replace(base, status="not_collected", note=f"no '{single.key}' of experiment {single.experiment}")
    if len(set(of_jobs)) > 1:
        found = " and ".join(str(value) for value in dict.fromkeys(of_jobs))
        raise UserError(f"experiment {single.experiment}: its training jobs report {found} as '{single.key}'")
    return replace(base, measured=number(of_jobs[0] if factor == 1 else factor * of_jobs[0]), status="statistic")


def with_published(measured: Iterable[Cell], published: Mapping[Place, Mapping[str, str]], blank: Cell) -> list[Cell]:
    """Every measured cell with what the paper prints, and every printed cell that was not measured, each once."""
    cells: dict[Place, Cell] = {}
    for cell in measured:
        if cell.place in cells:
            raise UserError(f"table {cell.table}: its definition gives the cell {cell.place} twice")
        cells[cell.place] = cell
        printed = published.get(cell.place)
        if printed is None:
            continue
        if cell.unit and cell.unit != printed["unit"]:
            raise UserError(
                f"table {cell.table}: the cell {cell.place} is measured in '{cell.unit}', printed in "
                f"'{printed['unit']}'"
            )
        cells[cell.place] = replace(cell, unit=printed["unit"], published=printed["value"], published_ci=printed["ci"],
                                    note=joined(cell.note, printed["note"]))  # fmt: skip
    for place, printed in published.items():
        if place not in cells:
            base = replace(blank, **place._asdict(), unit=printed["unit"], published=printed["value"])
            note = joined("printed by the paper, not in the table's definition", printed["note"])
            cells[place] = replace(base, published_ci=printed["ci"], status="not_collected", note=note)
    return list(cells.values())


def write_csv(path: Path, header: list[str], lines: Iterable[Mapping[str, str]]) -> None:
    """A CSV file, written atomically."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, header, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


def write_cells(path: Path, cells: Iterable[Cell]) -> None:
    """The table's CSV."""
    write_csv(path, HEADER, map(asdict, cells))
