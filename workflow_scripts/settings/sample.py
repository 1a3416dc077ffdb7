"""Which part of a corpus is taken."""

import math
from fractions import Fraction

from pydantic import Field

from workflow_scripts.settings.base import Strict


class Sample(Strict):
    """All of a corpus, a fraction of it, or a number of its clips; the same ones each time.

    A larger fraction or limit of the same seed holds all that a smaller one does.
    """

    limit: int | None = Field(default=None, ge=1)
    fraction: float = Field(default=1, gt=0, le=1)
    seed: int = Field(default=0, ge=0, lt=1 << 64)

    def share(self, count: int) -> int:
        """How many of `count` things the fraction takes: rounded up, so that nothing that there is vanishes."""
        return math.ceil(Fraction(str(self.fraction)) * count)
