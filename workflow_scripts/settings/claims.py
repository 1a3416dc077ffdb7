"""What a paper concludes, as checks on cells of its tables."""

from collections.abc import Iterator
from typing import Literal, Self

from pydantic import Field, model_validator

from workflow_scripts.settings.base import Strict


class CellAt(Strict):
    """A cell of one of the paper's tables: a score, a statistic of all data, or what jobs report of each seed."""

    table: str = Field(description="Name of the table")
    row: str
    column: str
    group: str = ""

    def cells(self) -> Iterator["CellAt"]:
        """The cell itself, as several cells are listed."""
        yield self


class HighestOf(Strict):
    """The highest of several cells, whichever that is; it is chosen anew in every replicate."""

    highest_of: list[CellAt] = Field(min_length=2)

    def cells(self) -> Iterator[CellAt]:
        """The cells in their order."""
        yield from self.highest_of


class LowestOf(Strict):
    """The lowest of several cells, whichever that is; it is chosen anew in every replicate."""

    lowest_of: list[CellAt] = Field(min_length=2)

    def cells(self) -> Iterator[CellAt]:
        """The cells in their order."""
        yield from self.lowest_of


Value = CellAt | HighestOf | LowestOf


class Comparison(Strict):
    """`left` compared with `right`, in the unit of the cells."""

    left: Value
    right: Value | float
    relation: Literal["greater", "less", "close"] = Field(
        description="`greater` and `less`: by more than the margin; `close`: within it"
    )
    margin: float = Field(0.0, ge=0, description="In the unit of the cells")

    def cells(self) -> Iterator[CellAt]:
        """All cells that are compared, the left ones first."""
        yield from self.left.cells()
        if not isinstance(self.right, float):
            yield from self.right.cells()


class Rank(Strict):
    """The place of a cell among others."""

    cell: CellAt
    others: list[CellAt] = Field(min_length=1)
    first: Literal["highest", "lowest"] = Field("highest", description="Which value has the first place")
    at_most: int = Field(1, ge=1, description="The last place at which the claim holds")

    @model_validator(mode="after")
    def possible(self) -> Self:
        if self.at_most > len(self.others):
            raise ValueError(f"at_most: any of {len(self.others) + 1} cells is among the first {self.at_most}")
        return self

    def cells(self) -> Iterator[CellAt]:
        """The cell, then the others."""
        yield self.cell
        yield from self.others


class Count(Strict):
    """How many of several comparisons are true together."""

    comparisons: list[Comparison] = Field(min_length=2)
    at_least: int = Field(ge=1, description="With how many the claim holds")

    @model_validator(mode="after")
    def possible(self) -> Self:
        if self.at_least > len(self.comparisons):
            raise ValueError(f"at_least: there are only {len(self.comparisons)} comparisons")
        return self

    def cells(self) -> Iterator[CellAt]:
        """The cells of all comparisons."""
        for comparison in self.comparisons:
            yield from comparison.cells()


class Claim(Strict):
    """One conclusion: a comparison, a rank or a count."""

    id: str = Field(description="Short name, the paper's section first")
    text: str = Field(description="The conclusion in our words")
    published: float | None = Field(None, description="The difference as printed; otherwise that of the printed cells")
    compare: Comparison | None = None
    rank: Rank | None = None
    count: Count | None = None

    @model_validator(mode="after")
    def one_check(self) -> Self:
        if sum(check is not None for check in (self.compare, self.rank, self.count)) != 1:
            raise ValueError(f"the claim '{self.id}' needs one of compare, rank and count")
        return self

    @property
    def check_of(self) -> Comparison | Rank | Count:
        """The one that it has."""
        return next(check for check in (self.compare, self.rank, self.count) if check is not None)


class Claims(Strict):
    """`claims.yaml` of a paper."""

    claims: list[Claim]
