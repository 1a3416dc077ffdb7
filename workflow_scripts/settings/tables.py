"""What a table of a paper holds: rows of experiments under columns of metrics, and single cells."""

from collections import Counter
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from workflow_scripts.settings.base import Strict

MOST_SEEDS = 1000  # far more than anybody trains, and few enough for a plan
PER_COLUMN = "per_column"

# What a score, which lies between 0 and 1, a count or seconds are multiplied by to be in a unit; 1 for all others.
FACTORS = {"%": 100.0, "points": 100.0, "x100": 100.0, "1e6 parameters": 1e-6, "h": 1 / 3600}


class Selection(Strict):
    """The seeds whose scores a cell averages: the best ones by their scores on another split."""

    best: int = Field(ge=1, description="How many seeds are averaged")
    of: int = Field(ge=1, le=MOST_SEEDS, description="How many seeds are trained")
    by: str = Field("validation", description="The split whose scores rank the seeds")
    ranking: str = Field(PER_COLUMN, description="`per_column`: by each column's own metric; otherwise by this metric")

    @model_validator(mode="after")
    def enough(self) -> Self:
        if self.best > self.of:
            raise ValueError(f"the best {self.best} of {self.of} seeds cannot be chosen")
        return self


class Score(Strict):
    """One metric of one experiment."""

    experiment: str = Field(description="An experiment of the paper")
    metric: str = Field(description="A metric of its family")
    split: str = Field("test", description="The clips that are scored")


class Row(Strict):
    """One row: the scores of an experiment, or the reason why there are none."""

    label: str = Field(description="As the paper prints it")
    group: str = Field("", description="The part of the table in which the row stands")
    experiment: str | None = Field(None, description="An experiment of the paper")
    status: Literal["quoted", "not_collected", "unavailable"] | None = Field(
        None, description="Instead of an experiment: why nothing is measured"
    )
    note: str = Field("", description="Goes into the note of each cell")

    @model_validator(mode="after")
    def measured_or_not(self) -> Self:
        if (self.experiment is None) == (self.status is None):
            raise ValueError(f"the row '{self.label}' needs either an experiment or a status")
        return self


class Column(Strict):
    """One column: a metric in the paper's unit."""

    label: str = Field(description="As the paper prints it")
    metric: str = Field(description="A metric of the experiments' family")
    unit: str = Field("%", description="`%` and `points` are 100 times the score")
    split: str = Field("test", description="The clips that are scored")


class SingleCell(Strict):
    """Where a cell stands in its table."""

    row: str
    column: str
    group: str = ""


class Difference(SingleCell):
    """A cell that is the difference of two scores."""

    kind: Literal["difference"]
    unit: str = Field("points", description="`points` are 100 times the score")
    left: Score
    right: Score = Field(description="Is subtracted")


class Statistic(SingleCell):
    """A cell that is read from a file of values: a number, or a mean of ratings with its interval."""

    kind: Literal["statistic"]
    unit: str = ""
    values: str = Field(description="Name of the file of values")
    key: str = Field(description="Where the value stands in it, keys joined with dots")


class Fact(SingleCell):
    """A cell that the training jobs of an experiment report in `params.json`: of all seeds, or their average."""

    kind: Literal["fact"]
    unit: str = ""
    experiment: str = Field(description="An experiment of the paper")
    key: str = Field(
        description="What is reported: a number, such as `parameters`, or one a seed: `train_seconds`, or from the "
        "history `loss_fluctuation`"
    )


class Analytic(Strict):
    """Cells that are read off what an experiment's settings build, without data."""

    name: str = Field(description="File in `workflow_scripts/tables/analytic`")
    experiment: str = Field(description="The experiment whose settings are read")
    group: str = ""
    row: str = Field("", description="The row of its cells, if it is not the one that they name")


Cell = Annotated[Difference | Statistic | Fact, Field(discriminator="kind")]


class Table(Strict):
    """One table of a paper, or the numbers that it prints in its text."""

    title: str = Field(description="What the table shows")
    rows: list[Row] = Field([], description="Rows of scores")
    columns: list[Column] = Field([], description="Columns of scores")
    selection: Selection | None = Field(None, description="Which seeds are averaged; all when left out")
    cells: list[Cell] = Field([], description="Single cells")
    analytic: list[Analytic] = Field([], description="Cells that are read off models")
    on_request: bool = Field(
        False, description="Made only when it is asked for: no part of tracking, coverage and the rehearsal"
    )

    @model_validator(mode="after")
    def once(self) -> Self:
        """No row, column or single cell stands twice."""
        measured = [(row.group, row.label) for row in self.rows]
        single = [(cell.group, cell.row, cell.column) for cell in self.cells]
        for key, places in (("rows", measured), ("columns", [(c.label,) for c in self.columns]), ("cells", single)):
            twice = [place for place, count in Counter(places).items() if count > 1]
            if twice:
                raise ValueError(f"{key}: '{', '.join(filter(None, twice[0]))}' stands twice; give one another label")
        return self

    def scores(self) -> list[Score]:
        """Every score that the table needs."""
        rows = [row.experiment for row in self.rows if row.experiment is not None]
        cells = [c for c in self.cells if isinstance(c, Difference)]
        return [
            *(Score(experiment=e, metric=c.metric, split=c.split) for e in rows for c in self.columns),
            *(side for cell in cells for side in (cell.left, cell.right)),
        ]

    def experiments(self) -> list[str]:
        """The experiments whose scores the table needs, each once."""
        return list(dict.fromkeys(score.experiment for score in self.scores()))

    def modelled(self) -> list[str]:
        """The experiments whose settings the table needs, each once."""
        return list(dict.fromkeys(part.experiment for part in self.analytic))

    def reporting(self) -> list[str]:
        """The experiments whose training jobs the table asks, each once."""
        return list(dict.fromkeys(cell.experiment for cell in self.cells if isinstance(cell, Fact)))

    def files_of_values(self) -> list[str]:
        """The files of values that the table needs, each once."""
        return list(dict.fromkeys(cell.values for cell in self.cells if isinstance(cell, Statistic)))

    def fact_at(self, group: str, row: str, column: str) -> Fact | None:
        """What training jobs report in a cell, or None when the table has no such cell."""
        facts = (cell for cell in self.cells if isinstance(cell, Fact))
        return next((cell for cell in facts if (cell.group, cell.row, cell.column) == (group, row, column)), None)

    def score_at(self, group: str, row: str, column: str) -> tuple[Score, Selection | None, str] | None:
        """The score of a cell with its selection and unit, or None when the table has no such cell."""
        for r in self.rows:
            for c in self.columns:
                if (r.group, r.label, c.label) == (group, row, column) and r.experiment is not None:
                    score = Score(experiment=r.experiment, metric=c.metric, split=c.split)
                    return score, self.selection, c.unit
        return None

    def statistic_at(self, group: str, row: str, column: str) -> Statistic | None:
        """The definition of a cell that is read from a file of values."""
        for cell in self.cells:
            if isinstance(cell, Statistic) and (cell.group, cell.row, cell.column) == (group, row, column):
                return cell
        return None
