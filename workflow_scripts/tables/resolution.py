"""What a number of test clips can show: whether a claim could be decided at all."""

import math

from workflow_scripts.settings.claims import Comparison, Rank
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


UNITS = {"%": "points", "x100": "points"}  # of a difference of values in these units


def power(check: Comparison | Rank, low: float, high: float, measured: float, unit: str, printed: float | None) -> str:
    """In words, how small a difference the interval (low, high) shows, what the paper's is and what was measured.

    `printed` and `measured` are positive where the claim is true, but those of a likeness (`close`) as they are.
    """
    kind = UNITS.get(unit, unit)
    shown = f"±{short((high - low) / 2)}{' ' * bool(kind)}{kind}"
    if isinstance(check, Rank):
        name, more = "lead", ""
    elif check.relation == "close":
        return f"{shown}; within {check.margin:g} is claimed, measured is {short(measured)}"
    else:
        name = "gain" if check.relation == "greater" else "loss"
        more = f", of which more than {check.margin:g} is claimed" if check.margin else ""
    paper = "the paper prints none" if printed is None else f"the paper's {name} is {short(printed)}{more}"
    return f"{shown}; {paper}, measured is {short(measured)}"


def short(value: float) -> str:
    """A number with two significant digits, whole ones with all of theirs."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{float(f'{value:.2g}'):g}"
