"""What a paper concludes, as checks on cells of its tables."""

from typing import Literal

from pydantic import Field

from workflow_scripts.settings.base import Strict


class CellAt(Strict):
    """A cell of one of the paper's tables that holds a score."""

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


class Claims(Strict):
    """`claims.yaml` of a paper."""

    claims: list[Claim]
