"""What a paper concludes, as checks on cells of its tables."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import Strict
from workflow_scripts.settings.tables import Fact, Table


class CellAt(Strict):
    """A cell of one of the paper's tables that holds a score, or what training jobs report of each seed."""

    table: str = Field(description="Name of the table")
    row: str
    column: str
    group: str = ""


class Comparison(Strict):
    """`left` compared with `right`, in the unit of the cells."""

    left: CellAt
    right: CellAt | float
    relation: Literal["greater", "less", "close"] = Field(
        description="`greater` and `less`: by more than the margin; `close`: within it"
    )
    margin: float = Field(0.0, ge=0, description="In the unit of the cells")


class Claim(Strict):
    """One conclusion."""

    id: str = Field(description="Short name, the paper's section first")
    text: str = Field(description="The conclusion in our words")
    published: float | None = Field(None, description="The difference as printed; otherwise that of the printed cells")
    compare: Comparison

    def facts(self, tables: Mapping[str, Table]) -> list[Fact]:
        """The cells that training jobs report; none of a claim about scores."""
        sides = [side for side in (self.compare.left, self.compare.right) if isinstance(side, CellAt)]
        cells = [tables[side.table].fact_at(side.group, side.row, side.column) for side in sides]
        found = [cell for cell in cells if cell is not None]
        if found and len(found) < len(sides):
            raise UserError(f"claim {self.id}: compares a score with what training jobs report; name two of one kind")
        return found


class Claims(Strict):
    """`claims.yaml` of a paper."""

    claims: list[Claim]
