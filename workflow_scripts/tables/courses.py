"""What the course of a training says of a score in a table: whether the run learned, and whether it was done."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

NEAR = 0.1  # of the prior's score: a run that is not farther above it has learned next to nothing
LAST = 5  # the last one of so many equal parts of a run's epochs
RISING = 0.02  # of the score: what seeds that are trained out do not gain from the part before to the last, on average
UNTRAINED = "not trained out"  # begins the notes


def untrained(jobs: Sequence[Mapping[str, Any]]) -> str:
    """A note on an experiment whose seeds, in what its training jobs report, end at their prior or rise, else ""."""
    courses = [course for job in jobs for course in job.get("course", {}).values() if course["values"]]
    low = [course for course in courses if near_prior(course)]
    found = []
    if low:
        last, prior = low[0]["values"][-1], low[0]["prior"]
        example = f"{low[0]['score']} {last:.3f}, without learning {prior:.3f}"
        found.append(f"{len(low)} of {len(courses)} seeds end at or near what their prior gives ({example})")
    if (gain := rise([course for course in courses if course not in low])) > RISING:
        found.append(f"the seeds still rose by {gain:.1%} in the last fifth of their epochs ({courses[0]['score']})")
    return f"{UNTRAINED}: {' and '.join(found)}" if found else ""


def near_prior(course: Mapping[str, Any]) -> bool:
    """Whether a run ends at or near the score of what is known without learning."""
    prior: float | None = course["prior"]
    return prior is not None and course["values"][-1] <= (1 + NEAR) * prior


def rise(courses: Sequence[Mapping[str, Any]]) -> float:
    """What runs that used all their epochs gained from the part before to the last, as a share of their mean score.

    It is that of all seeds together: of one, on a few validation clips, it is mostly noise.
    """
    before, last = [], []
    for course in courses:
        values = course["values"]
        part = math.ceil(len(values) / LAST)
        if not course["stopped"] and len(values) >= 2 * part:
            before.append(fmean(values[-2 * part : -part]))
            last.append(fmean(values[-part:]))
    return (fmean(last) - fmean(before)) / abs(fmean(last)) if last and fmean(last) else 0.0
