"""What the jobs of one part need: by files about finished jobs, by measurements at small sizes, by counting."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.files import read_benchmark
from workflow_scripts.rehearsal.plan import Part

FAR = 100  # times the largest size that was run: memory that grew so far has not shown where it stops growing
FLAT_MB = 8  # memory that grows by less than this between the two largest sizes does not grow


@dataclass(frozen=True)
class Spent:
    """What one run has used: `seconds` of all cores together, `memory_mb` at its peak, `stored` bytes of results.

    `size` is its number of items; of training on a GPU there are the GPU's memory and the clips learned from a second.
    """

    size: int
    seconds: float
    memory_mb: float
    stored: int = 0
    gpu_mb: float = 0
    speed: float = 0


@dataclass(frozen=True)
class Estimate:
    """Of the largest job `minutes` and `memory_mb`; of all jobs hours and `stored` bytes; None: unknown.

    `how`: measured (of finished jobs, or here at the true size), extrapolated (from smaller sizes), counted (operations
    over a card's rate), declared (by the source), unknown.
    """

    how: str
    note: str = ""
    minutes: float | None = None
    memory_mb: float | None = None
    cpu_hours: float | None = None
    gpu_hours: float | None = None
    stored: float | None = None
    gpu_mb: float | None = None

    def within(self, part: Part) -> str:
        """Whether the largest job keeps within what it asks for; `unknown` where time was only counted."""
        pairs = [(self.minutes, part.runtime * part.turns), (self.memory_mb, part.mem_mb)]
        if self.how == "counted":
            pairs = pairs[1:]
        if any(found is not None and found > asked for found, asked in pairs):
            return "no"
        known = self.how != "counted" and all(found is not None for found, _ in pairs)
        return "yes" if known else "unknown"


def benchmarked(part: Part) -> Estimate | None:
    """What Snakemake has measured of finished jobs; None where none has finished."""
    patterns = map(Path, part.benchmarks)
    runs = [row for pattern in patterns for path in pattern.parent.glob(pattern.name) for row in read_benchmark(path)]
    if not runs:
        return None
    seconds, cpu, memory = (np.array([row[key] for row in runs]) for key in ("s", "cpu_time", "max_rss"))
    hours = seconds.mean() * part.jobs / 3600
    return Estimate(
        "measured",
        f"{len(runs)} of {part.jobs} jobs have run",
        minutes=seconds.max() / 60,
        memory_mb=memory.max(),
        cpu_hours=cpu.mean() * part.jobs / 3600,
        gpu_hours=hours * part.gpu if part.gpu else None,
    )


def line(runs: Sequence[Spent], what: str) -> tuple[float, float]:
    """The intercept and the slope, neither negative, of what runs of several sizes have used."""
    from scipy.optimize import nnls

    sizes, values = np.array([run.size for run in runs]), np.array([getattr(run, what) for run in runs])
    (fixed, growing), _ = nnls(np.stack([np.ones(len(sizes)), sizes], 1), values)
    return float(fixed), float(growing)


def memory(runs: Sequence[Spent], size: int) -> float | None:
    """MB at a size, by the line through the two largest: before, memory fills buffers that are then full.

    None where it grows, and the size is `FAR` from what was run.
    """
    if len(runs) == 1 or size <= runs[-1].size:
        return runs[-1].memory_mb
    before, last = runs[-2:]
    grown = last.memory_mb - before.memory_mb
    each = grown / (last.size - before.size) if grown >= FLAT_MB else 0.0
    if each and size > FAR * last.size:
        return None
    return max(before.memory_mb, last.memory_mb) + each * (size - last.size)


def extrapolated(part: Part, runs: Sequence[Spent]) -> Estimate:
    """The largest job and all jobs by straight lines through runs of several sizes; time is that of one core."""
    fixed, each = line(runs, "seconds")
    _, bytes_each = line(runs, "stored")
    exact = runs[-1].size >= part.items
    sizes = ", ".join(str(run.size) for run in runs)
    return Estimate(
        "measured" if exact else "extrapolated",
        "" if exact else f"from {sizes} {part.unit}",
        minutes=(fixed + each * part.items) / 60,
        memory_mb=memory(runs, part.items),
        cpu_hours=(fixed * part.jobs + each * part.total) / 3600,
        stored=bytes_each * part.total,
    )


def declared(part: Part) -> Estimate:
    """What can be said before anything has run."""
    if part.job_hours is not None:
        return Estimate("declared", "time at the pace that is asked for", minutes=part.job_hours * 60)
    return Estimate("unknown")
