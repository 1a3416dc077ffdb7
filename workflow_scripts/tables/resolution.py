"""What a number of test clips can show: whether a claim could be decided at all."""

import math

from workflow_scripts.settings.claims import Comparison
from workflow_scripts.tables.cells import number


def resolution(
    comparison: Comparison, low: float, high: float, clips: int, paper_clips: int | None, printed: str
) -> dict[str, str]:
    """The columns of a claim that tell how small a difference can be shown, given the interval on `clips`.

    A difference is shown when it is larger than half the interval's width, and so is a likeness within a margin. With
    `paper_clips`, as many as the paper had, the interval would be narrower by the root of their ratio, with seeds
    and all else as here.
    """
    smallest = (high - low) / 2
    found = {"smallest_difference": number(smallest)}
    if not paper_clips:
        return found
    at_paper_size = smallest * math.sqrt(clips / paper_clips)
    found["at_paper_size"] = number(at_paper_size)
    wanted = comparison.margin
    if comparison.relation != "close":
        if not printed:
            return found
        wanted = abs(float(printed) - (wanted if comparison.relation == "greater" else -wanted))
    where = f"{wanted:.4g}, and {paper_clips} clips show {at_paper_size:.2g} or more"
    return {**found, "decidable": "yes" if wanted >= at_paper_size else f"no: the claim is about {where}"}
