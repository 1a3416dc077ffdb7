"""What was measured, as JSON, as the tables of `docs/benchmarks.md`, and as a picture."""

import importlib.metadata
import os
import platform
import subprocess
import textwrap
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel

from benchmarks.gpu import NONE, Network
from benchmarks.harness import Row
from benchmarks.stage import Stage, load, module
from workflow_scripts.errors import UserError
from workflow_scripts.shards import atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

ROOT = Path(__file__).parent.parent
PAGE, FILE, PICTURE = "benchmarks.md", "benchmarks.json", "benchmarks.png"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
LIBRARIES = ("numpy", "torch", "torchaudio", "librosa", "av", "opencv-python-headless", "scikit-learn", "sed_eval",
             "pycocoevalcap", "tfrecord", "timm", "snakemake")  # fmt: skip
GROWN = (
    "Ours alone. The time of a unit is that at the smallest size; beside it, how many times as long one takes at 4 and "
    "at 16 times as many. Memory is what came after the inputs were read."
)
BUSY = 0.5  # processes that waited for a core before the first measurement, above which the machine was not quiet


class Results(BaseModel):
    """A run of the command."""

    date: str
    commit: str
    machine: str
    libraries: dict[str, str]
    load: float  # processes that ran or waited in the minute before
    size: float
    repeats: int
    stages: dict[str, list[Row]] = {}
    growth: dict[str, list[Row]] = {}  # ours at the sizes of `harness.GROWTH`
    gpu: list[Network] | None = None  # None: not asked for


def begun(size: float, repeats: int) -> Results:
    """A run in which nothing is measured yet."""
    return Results(
        date=datetime.now(UTC).date().isoformat(),
        commit=commit(),
        machine=machine(),
        libraries=versions(),
        load=os.getloadavg()[0],
        size=size,
        repeats=repeats,
    )


def commit() -> str:
    """The commit of the code, and whether it has changes."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    number = git("rev-parse", "--short", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return (number + (" with changes" if changed else "")) or "unknown"


def machine() -> str:
    """Cores, processor, memory and system, in words."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    about = f"{cores} cores of {models[0] if models else platform.machine()}, {memory:.0f} GiB of memory"
    return f"{about}, {platform.system()}, Python {platform.python_version()}"


def versions() -> dict[str, str]:
    """Of the libraries that stages measure, as far as they are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


# the tables


def tables(found: Results) -> str:
    """All that was measured, in Markdown."""
    stages = {name: load(module(name)) for name in found.stages}
    known = ", ".join(f"{name} {version}" for name, version in found.libraries.items())
    parts = [
        f"Measured on {found.date} at commit {found.commit}, on {found.machine}; sizes × {found.size:g}, "
        f"{found.repeats} repetitions. {quietness(found)} With {known}."
    ]
    if found.stages:
        parts += ["\n".join(stage_table(found, stages)), "\n".join(notes(found, stages))]
    if found.growth:
        parts += ["### With four and with sixteen times as much", GROWN, "\n".join(growth_table(found.growth, stages))]
    if found.gpu is not None:
        parts += ["### On a GPU", "\n".join(gpu_table(found.gpu)) if found.gpu else NONE]
    return "\n\n".join(filter(None, parts))


def quietness(found: Results) -> str:
    if found.load <= BUSY:
        return f"The machine was quiet (load {found.load:.1f})."
    return f"**The machine was not quiet (load {found.load:.1f}): read the ratios, not the rates.**"


def stage_table(found: Results, stages: Mapping[str, Stage]) -> Iterable[str]:
    yield "| stage | contender | a CPU-second | ours to it | CPU, s | clock, s | spread | memory, MB |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, rows in found.stages.items():
        ours = rows[0]
        for row in rows:
            head = f"{stages[name].title}: {row.units:,} {stages[name].unit}" if row is ours else ""
            yield f"| {head} | {' | '.join(cells(row, ours))} |"


def cells(row: Row, ours: Row) -> list[str]:
    """A contender's part of a line."""
    if not row.cpu:
        return [row.contender, row.status.replace("|", "/"), "", "", "", "", ""]
    ratio = "" if row is ours or not ours.cpu else f"{ours.rate / row.rate:.2f}"
    memory = f"{row.peak_mb:,.0f} ({row.work_mb:,.0f})"
    clock = sorted(row.wall)[len(row.wall) // 2]
    name = f"**{row.contender}**" if row is ours else row.contender
    spread = f"± {100 * row.spread:.0f} %"
    return [name, digits(row.rate), ratio, digits(row.seconds), digits(clock), spread, memory]


def digits(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def notes(found: Results, stages: Mapping[str, Stage]) -> Iterable[str]:
    """What the limits do, what must be known, and how near our results are to those of each peer."""
    for name, stage in stages.items():
        about = [f"The limit: {stage.limit[0]}."] if stage.limit else ["It has no limit that could be measured."]
        near = "; ".join(f"{row.contender}: {row.same}" for row in found.stages[name] if row.same)
        told = [*about, stage.note, f"Results beside ours: {near}." if near else ""]
        yield f"- {stage.title}: {' '.join(filter(None, told))}"


def growth_table(growth: Mapping[str, list[Row]], stages: Mapping[str, Stage]) -> Iterable[str]:
    yield "| stage | units | CPU of a unit, ms | × 4 | × 16 | memory, MB: × 1 | × 4 | × 16 |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, rows in growth.items():
        if not all(row.cpu for row in rows):
            yield f"| {stages[name].title} | {'; '.join(row.status for row in rows if not row.cpu)} | | | | | | |"
            continue
        units, each = ", ".join(f"{row.units:,}" for row in rows), digits(1e3 / rows[0].rate)
        longer = " | ".join(f"{rows[0].rate / row.rate:.2f}" for row in rows[1:])
        memory = " | ".join(f"{row.work_mb:,.0f}" for row in rows)
        yield f"| {stages[name].title} | {units} {stages[name].unit} | {each} | {longer} | {memory} |"


def gpu_table(networks: Iterable[Network]) -> Iterable[str]:
    yield "| paper | experiment | numbers | batch | steps a second | GPU memory, MB |"
    yield "|---|---|---|---|---|---|"
    for one in networks:
        measured = f"{digits(one.steps)} | {one.gpu_mb:,.0f}" if one.steps else f"{one.note} |"
        yield f"| {one.paper} | {one.experiment} | {one.precision} | {one.batch or ''} | {measured} |"


# the files


def write(found: Results, folder: Path) -> None:
    """Writes the JSON and the picture, and the tables into the page, whose other text stays."""
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / PAGE
    text = (page if page.exists() else ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    if not (BEGIN in text and END in text):
        raise UserError(f"{page}: the lines '{BEGIN}' and '{END}', between which the tables belong, are missing")
    before, rest = text.split(BEGIN, 1)
    measured = f"{tables(found)}\n"
    if drawn := {name: rows for name, rows in found.stages.items() if rows[0].cpu}:
        draw(drawn, found, folder / PICTURE)
        measured = f"![Rates beside ours, by stage]({PICTURE})\n\n{measured}"
    write_text(page, f"{before}{BEGIN}\n\n{measured}\n{END}{rest.split(END, 1)[1]}")
    write_text(folder / FILE, found.model_dump_json(indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def draw(stages: Mapping[str, list[Row]], found: Results, path: Path) -> None:
    """The rates of peers and limits as multiples of ours, a line a stage."""
    from workflow_scripts.figures.style import save

    note = f"Commit {found.commit}, {found.machine}. Left of 1: slower than ours. CPU time on one thread."
    save(lambda: picture(stages), "Rates beside ours, by stage", note, [path])


def picture(stages: Mapping[str, list[Row]]) -> "Canvas":
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    from workflow_scripts.figures.style import ACCENT, FAINT, INK

    canvas = Figure(figsize=(9, 1 + 0.45 * len(stages)))
    axes = canvas.subplots()
    for height, rows in enumerate(reversed(stages.values())):
        axes.plot(1, height, "|", color=INK, markersize=14, markeredgewidth=2)
        for number, row in enumerate(row for row in rows[1:] if row.cpu):
            limit, share = row.contender == "limit", row.rate / rows[0].rate
            axes.plot(share, height, "D" if limit else "o", color=ACCENT if limit else FAINT, markersize=5)
            place = (6, -2) if limit else (0, -10 if number % 2 else 5)  # neighbours may have one place
            side = "left" if limit else "center"
            axes.annotate(row.contender, (share, height), place, textcoords="offset points", ha=side, fontsize=6)
    titles = [textwrap.fill(load(module(name)).title, 40) for name in reversed(stages)]
    axes.set_yticks(range(len(stages)), titles)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.15)
    axes.set_ylim(-0.6, len(stages) - 0.2)
    axes.set_xlabel("units a CPU-second, ours = 1")
    axes.grid(axis="x")
    return canvas
