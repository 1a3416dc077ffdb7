"""What the course of a training says of a score in a table: whether the run learned, and whether it was done."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

NEAR = 0.1  # of the prior's score: a run that is not farther above it has learned next to nothing
LAST = 5  # the last one of so many equal parts of a run's epochs
RISING = 0.02  # of the score: what a run that is trained out does not gain from the part before to the last, on average
UNTRAINED = "not trained out"  # begins the notes


def untrained(jobs: Sequence[Mapping[str, Any]]) -> str:
    """A note on the seeds, in what training jobs report, that ended near their prior or still rising; else nothing."""
    courses = [course for job in jobs for course in job.get("course", {}).values() if course["values"]]
    low = [course for course in courses if near_prior(course)]
    rising = [course for course in courses if still_rising(course) and course not in low]
    found = []
    if low:
        last, prior = low[0]["values"][-1], low[0]["prior"]
        example = f"{low[0]['score']} {last:.3f}, without learning {prior:.3f}"
        found.append(f"{len(low)} of {len(courses)} seeds end at or near what their prior gives ({example})")
    if rising:
        gained = f"gained over {RISING:.0%} in the last fifth of their epochs by {rising[0]['score']}"
        found.append(f"{len(rising)} of {len(courses)} seeds still rose at the end, that is {gained}")
    return f"{UNTRAINED}: {' and '.join(found)}" if found else ""


def near_prior(course: Mapping[str, Any]) -> bool:
    """Whether a run ends at or near the score of what is known without learning."""
    prior: float | None = course["prior"]
    return prior is not None and course["values"][-1] <= (1 + NEAR) * prior


def still_rising(course: Mapping[str, Any]) -> bool:
    """Whether the last part of a run that used all its epochs has a mean score well above that of the part before."""
    values = course["values"]
    part = math.ceil(len(values) / LAST)
    if course["stopped"] or len(values) < 2 * part:
        return False
    before, last = (sum(own) / part for own in (values[-2 * part : -part], values[-part:]))
    return last - before > RISING * abs(last)
