"""Rehearses the full scale: one table of what every stage of every paper needs, beside what its jobs ask for."""

import csv
import logging
import math
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workflow_scripts.errors import UserError
from workflow_scripts.progress import progress
from workflow_scripts.rehearsal import training
from workflow_scripts.rehearsal.estimate import Estimate, Spent, benchmarked, declared, extrapolated
from workflow_scripts.rehearsal.measure import measured
from workflow_scripts.rehearsal.networks import counted
from workflow_scripts.rehearsal.payloads import payload, rows_a_size
from workflow_scripts.rehearsal.plan import Part, Rehearse
from workflow_scripts.scores.plan import Score
from workflow_scripts.settings.base import digest
from workflow_scripts.shards import atomic
from workflow_scripts.tables.plan import CountClips, MakeTable

log = logging.getLogger(__name__)

Line = dict[str, str]
COLUMNS = (
    *("paper", "stage", "part", "jobs", "total", "unit", "cpu_hours", "gpu_hours", "gpu_mb", "memory_mb", "mem_mb"),
    *("minutes", "runtime", "disk_gb", "download_gb", "source_hours", "how", "within", "note"),
)
HEADS = {
    "part": "what",
    "total": "items",
    "cpu_hours": "CPU h",
    "gpu_hours": "GPU h",
    "gpu_mb": "GPU memory, MB",
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
    job.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=job.scratch) as folder, ThreadPoolExecutor(job.threads) as pool:
        rehearsal = Rehearsal(job, Path(folder))
        parts = in_turn(job.parts)
        found = progress(pool.map(rehearsal.estimate, parts), "rehearsing", total=len(parts), unit="part")
        estimates = {(part.paper, part.stage, part.name): each for part, each in zip(parts, found, strict=True)}
    lines = [line(part, estimates[part.paper, part.stage, part.name]) for part in job.parts]
    with atomic(table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
    text = rendered(lines, job)
    with atomic(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    log.info(text)  # what a job has written does not outlive its failure; its log does
    refuse(lines)


def in_turn(parts: Iterable[Part]) -> list[Part]:
    """The parts in the order in which they are measured: training, which takes longest, last, and papers in turn."""
    before: Counter[tuple[str, bool]] = Counter()
    order = []
    for part in parts:
        key = (part.paper, part.stage == "training")
        order.append((key[1], before[key], part))
        before[key] += 1
    return [part for *_, part in sorted(order, key=lambda entry: entry[:2])]


class Rehearsal:
    """The measurements of one run; parts whose jobs do the same share them."""

    def __init__(self, job: Rehearse, folder: Path) -> None:
        self.settings, self.folder = job.settings, folder
        self.until = time.monotonic() + 60 * job.settings.minutes
        self._runs: dict[str, list[Spent]] = {}
        self._locks: dict[str, threading.Lock] = {}

    def estimate(self, part: Part) -> Estimate:
        """What a part needs, by the best that there is."""
        if (known := benchmarked(part)) is not None:
            return known
        if part.stage == "training":
            return self.training(part)
        sizes = self.sizes(part)
        if part.example is None or not sizes:
            return declared(part)
        key = digest([type(part.example).__name__, part.example.digest(), part.reader, part.seeds, sizes])
        runs = self.shared(key, lambda folder: self.runs(part, sizes, folder))
        if len(runs) > 1 or (sizes == [part.items] and runs):
            return extrapolated(part, runs)
        return counted(part, self.settings) or declared(part)

    def training(self, part: Part) -> Estimate:
        """What training needs: on a GPU by steps; else counted, and its memory by steps if there is time for them."""
        try:
            key = training.key(part)
            runs = self.shared(key, lambda folder: training.runs(part, folder, self.left))
        except training.NotRehearsedError as unknown:
            return Estimate("unknown", str(unknown))
        return training.estimate(part, self.settings, runs)

    def shared(self, key: str, measure: Callable[[Path], list[Spent]]) -> list[Spent]:
        """What was measured under a key, in a folder that is then emptied; others with the key wait for it."""
        with self._locks.setdefault(key, threading.Lock()):
            if key not in self._runs:
                self._runs[key] = measure(self.folder / key)
                shutil.rmtree(self.folder / key, ignore_errors=True)
        return self._runs[key]

    def left(self) -> float:
        """Seconds in which something can be measured."""
        return self.until - time.monotonic()

    def sizes(self, part: Part) -> list[int]:
        """At how many items a part is measured; at the true number where that is small."""
        each = rows_a_size(part.example) if part.example else 1
        return sorted({min(size * each, part.items) for size in self.settings.sizes} - {0})

    def runs(self, part: Part, sizes: Sequence[int], folder: Path) -> list[Spent]:
        """Runs the part's job at each size, as long as there is time."""
        found: list[Spent] = []
        for size in sizes:
            own = folder / str(size)
            if self.left() <= 0 or (job := payload(part.example, part, size, own)) is None:
                break
            spent = measured(job, [own / f"{number}.out" for number in range(results(part))], size, own, self.left())
            if spent is None:
                log.info("%s, %s of %s: not measured at %d %s", part.paper, part.stage, part.name, size, part.unit)
                break
            log.info("%s, %s of %s: %d %s: %s", part.paper, part.stage, part.name, size, part.unit, spent)
            found.append(spent)
            shutil.rmtree(own)
        return found


def results(part: Part) -> int:
    """The number of files that a job of a part makes."""
    if isinstance(part.example, Score):
        return 3
    return 2 if isinstance(part.example, MakeTable | CountClips) else 1


def line(part: Part, found: Estimate) -> Line:
    """One line of the table."""
    stored = found.stored if part.stored is None else part.stored
    goes_on = math.ceil((found.minutes or 0) / part.runtime) if part.turns > 1 else 1
    more = f"stopped at its limit and queued again {goes_on - 1} times" if goes_on > 1 else ""
    return {
        "paper": part.paper,
        "stage": part.stage,
        "part": part.name,
        "jobs": str(part.jobs),
        "total": str(part.total),
        "unit": part.unit,
        "cpu_hours": shown(found.cpu_hours, 2),
        "gpu_hours": shown(found.gpu_hours, 2),
        "gpu_mb": shown(found.gpu_mb),
        "memory_mb": shown(found.memory_mb),
        "mem_mb": str(part.mem_mb),
        "minutes": shown(found.minutes, 1),
        "runtime": str(part.runtime),
        "disk_gb": shown(stored and stored / 1e9, 2),
        "download_gb": shown(None if part.fetched is None else part.fetched / 1e9, 2),
        "source_hours": shown(part.source_hours, 1),
        "how": found.how,
        "within": found.within(part),
        "note": "; ".join(filter(None, (found.note, more, part.note))),
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

    def total(name: str, value: str) -> str:
        known = [float(found[name]) for found in lines if value in (found[key], "all") and found[name]]
        return f"{sum(known):.{0 if name == 'jobs' else 1}f}" if known else ""

    rows = [{key: value, **{name: total(name, value) for name in SUMS}} for value in [*values, "all"]]
    return grid([key, *SUMS], rows)


def grid(names: Sequence[str], rows: Iterable[Line]) -> str:
    """A Markdown table."""
    cells = [[HEADS.get(name, name) for name in names], ["---"] * len(names)]
    cells += [[row[name].replace("|", "\\|") for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
