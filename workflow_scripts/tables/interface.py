"""What a source of table cells is that needs no data.

A source is one file in `analytic/`, named as users write it, with one class `Source` made from the base below: its
`cells` reads them off what an experiment's settings build. Heavy libraries are imported in it only.
"""

from abc import ABC, abstractmethod
from typing import Any

from workflow_scripts.settings.base import Plugin


class TableSource(Plugin, ABC):
    """Cells that follow from settings."""

    @abstractmethod
    def cells(self, experiment: dict[str, Any]) -> dict[tuple[str, str], str]:
        """The text of each cell by (row, column), numbers in the unit that the paper prints.

        `experiment` has the keys of an experiment in paper.yaml, its `features` by name with their keys, and
        `clip_seconds`. Settings that such cells cannot be read off are a `UserError`.
        """
