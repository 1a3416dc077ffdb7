"""Rehearses the full scale: one table of what every stage of every paper needs, beside what its jobs ask for."""

import csv
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from workflow_scripts.errors import UserError
from workflow_scripts.rehearsal.estimate import Estimate, benchmarked, declared
from workflow_scripts.rehearsal.plan import Part, Rehearse
from workflow_scripts.shards import atomic

log = logging.getLogger(__name__)

Line = dict[str, str]
COLUMNS = (
    *("paper", "stage", "part", "jobs", "total", "unit", "cpu_hours", "gpu_hours", "memory_mb", "mem_mb"),
    *("minutes", "runtime", "disk_gb", "download_gb", "source_hours", "how", "within", "note"),
)
HEADS = {
    "part": "what",
    "total": "items",
    "cpu_hours": "CPU h",
    "gpu_hours": "GPU h",
    "memory_mb": "memory, MB",
    "mem_mb": "asked",
    "minutes": "longest, min",
    "runtime": "asked",
    "disk_gb": "disk, GB",
    "download_gb": "download, GB",
    "source_hours": "source, h",
}
SUMS = ("jobs", "cpu_hours", "gpu_hours", "disk_gb", "download_gb", "source_hours")


def rehearse(job: Rehearse, table: Path, page: Path) -> None:
    """Writes the table and the page; a job that would not keep within what it asks for is a `UserError`."""
    lines = [line(part, benchmarked(part) or declared(part)) for part in job.parts]
    with atomic(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    with atomic(page) as temporary:
        temporary.write_text(rendered(lines, job), encoding="utf-8")
    refuse(lines)


def line(part: Part, found: Estimate) -> Line:
    """One line of the table."""
    stored = part.stored if found.stored is None else found.stored
    return {
        "paper": part.paper,
        "stage": part.stage,
        "part": part.name,
        "jobs": str(part.jobs),
        "total": str(part.total),
        "unit": part.unit,
        "cpu_hours": shown(found.cpu_hours, 2),
        "gpu_hours": shown(found.gpu_hours, 2),
        "memory_mb": shown(found.memory_mb),
        "mem_mb": str(part.mem_mb),
        "minutes": shown(found.minutes, 1),
        "runtime": str(part.runtime),
        "disk_gb": shown(stored and stored / 1e9, 2),
        "download_gb": shown(None if part.fetched is None else part.fetched / 1e9, 2),
        "source_hours": shown(part.source_hours, 1),
        "how": found.how,
        "within": found.within(part),
        "note": found.note,
    }


def shown(value: float | None, decimals: int = 0) -> str:
    """A number for people; empty where it is not known."""
    return "" if value is None else f"{value:.{decimals}f}"


def refuse(lines: Iterable[Line]) -> None:
    """One sentence about the first part that would break its limits, and how many others would."""
    broken = [found for found in lines if found["within"] == "no"]
    if not broken:
        return
    first, others = broken[0], len(broken) - 1
    needs = [
        f"{first[found] or '?'} {unit} of {first[asked]}"
        for found, asked, unit in (("memory_mb", "mem_mb", "MB"), ("minutes", "runtime", "minutes"))
        if first[found] and float(first[found]) > float(first[asked])
    ]
    raise UserError(
        f"papers/{first['paper']}: {first['stage']} of {first['part']} would need {' and '.join(needs)} that it asks "
        f"for{f', and {others} others likewise (marked `no` in the log)' if others else ''}: raise `{first['stage']}` "
        "in resources.yaml or the experiment's `cost`, or divide the corpus into more shards"
    )


# the page


def rendered(lines: Sequence[Line], job: Rehearse) -> str:
    """The table for people: sums of each paper, then each paper's parts."""
    papers = list(dict.fromkeys(found["paper"] for found in lines))
    stages = list(dict.fromkeys(found["stage"] for found in lines))
    card = job.settings
    texts = [
        "# What the full scale needs",
        "Each stage's real code at the papers' counts, with small payloads where it was measured. `how`: measured (by "
        "jobs that have run, or here at the true size), extrapolated (by straight lines from smaller sizes), counted "
        f"(operations over {card.card_tflops:g}e12 a second, what an {card.card} sustains), declared (by settings or "
        "publishers), unknown. `within`: whether the largest job keeps within what it asks for. Hours are of one core "
        "or one GPU; an empty cell is not known, and sums leave it out.",
        *(summed("paper", papers, lines), summed("stage", stages, lines)),
    ]
    for paper in papers:
        own = [found for found in lines if found["paper"] == paper]
        names = [name for name in COLUMNS if name != "paper"]
        texts.append(f"## {paper}\n\n{grid(names, own)}")
    return "\n\n".join(texts) + "\n"


def summed(key: str, values: Sequence[str], lines: Sequence[Line]) -> str:
    """The sums of the lines by a column, and of all."""

    def total(name: str, chosen: Callable[[Line], bool]) -> str:
        known = [float(found[name]) for found in lines if chosen(found) and found[name]]
        return f"{sum(known):.{0 if name == 'jobs' else 1}f}" if known else ""

    rows = [{key: value, **{s: total(s, lambda found, v=value: found[key] == v) for s in SUMS}} for value in values]
    rows.append({key: "all", **{name: total(name, lambda _: True) for name in SUMS}})
    return grid([key, *SUMS], rows)


def grid(names: Sequence[str], rows: Iterable[Line]) -> str:
    """A Markdown table."""
    cells = [[HEADS.get(name, name) for name in names], ["---"] * len(names)]
    cells += [[row[name].replace("|", "\\|") for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
