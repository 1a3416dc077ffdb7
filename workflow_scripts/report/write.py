"""Writes a report: one page that opens offline and loads nothing."""

import csv
import json
import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workflow_scripts.comparability import beside_the_paper
from workflow_scripts.files import read_csv
from workflow_scripts.report.examples import answered, data_url
from workflow_scripts.report.plan import Part, Titled, WriteReport
from workflow_scripts.shards import atomic
from workflow_scripts.tables.cells import MEASURED, Cell, Place
from workflow_scripts.tables.markdown import UNMEASURED, decimals, lopsided, on_clips, on_training
from workflow_scripts.training.outputs import read_params

HERE = Path(__file__).parent


def write_report(job: WriteReport, output: Path) -> None:
    """Writes the page of some papers."""
    import jinja2

    loader = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    loader.filters["path"] = lambda path: quote(os.path.relpath(path, output.parent))
    parts = [shown(part) for part in job.parts]
    runs = [run for part in parts for run in part["runs"]]
    page = loader.get_template("page.html.j2").render(
        scale=job.scale,
        rest=job.rest,
        parts=parts,
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        verdicts=Counter(claim["verdict"] for part in parts for claim in part["claims"]),
        environment=environment(job.parts),
        minutes=sum(run["seconds"] for run in runs) / 60,
    )
    with atomic(output) as temporary:
        temporary.write_text(page, encoding="utf-8")


def shown(part: Part) -> dict[str, Any]:
    """What the page tells of a paper."""
    claims = [line for _, line in read_csv(part.claims)]
    return {
        "name": part.name,
        "title": part.title,
        "citation": part.citation,
        "url": part.url,
        "tables": [table_of(table) for table in part.tables],
        "claims": claims,
        "claims_file": part.claims,
        "figures": [
            {"title": figure.title, "file": figure.file, "picture": data_url("image/png", figure.file.read_bytes())}
            for figure in part.figures
        ],
        "coverage": [line for _, line in read_csv(part.coverage)] if part.coverage else [],
        "examples": answered(part.examples),
        "runs": [run_of(name, jobs) for name, jobs in part.trained.items()],
    }


@dataclass(frozen=True)
class Shown:
    """A cell in pieces: the value, its interval, what the paper prints, and what there is to say of it."""

    value: str
    interval: str = ""
    published: str = ""
    note: str = ""


def table_of(table: Titled) -> dict[str, Any]:
    """A table as the paper prints it: groups of rows by columns."""
    cells = [Cell(**line) for _, line in read_csv(table.file)]
    measured = [cell for cell in cells if cell.status in MEASURED]
    differs = next((cell.differs for cell in measured if cell.differs), "")
    notes = [note for cell in cells for note in cell.note.split("; ") if note]
    groups = []
    for group in dict.fromkeys(cell.group for cell in cells):
        inside = {cell.place: cell for cell in cells if cell.group == group}
        columns = {cell.column: cell.unit for cell in inside.values()}
        rows = [
            (row, [piece(inside.get(Place(group, row, column))) for column in columns])
            for row in dict.fromkeys(cell.row for cell in inside.values())
        ]
        groups.append({"name": group, "columns": columns, "rows": rows})
    return {
        "title": table.title,
        "file": table.file,
        "measured": bool(measured),
        "about": beside_the_paper(differs).replace("`", "") if measured else "read off the paper's model, without data",
        "sentences": [sentence.replace("**", "") for sentence in on_clips(measured) + on_training(measured)],
        "notes": list(dict.fromkeys(notes)),
        "groups": groups,
    }


def piece(cell: Cell | None) -> Shown:
    """A cell as the page shows it."""
    if cell is None:
        return Shown("")
    value, interval = cell.measured or UNMEASURED[cell.status], ""
    if cell.ci_low:
        places = decimals(cell.published)
        number, low, high = float(cell.measured), float(cell.ci_low), float(cell.ci_high)
        value, places = f"{number:.{places}f}", max(places, 1)
        half = f"± {(high - low) / 2:.{places}f}"
        interval = f"[{low:.{places}f}, {high:.{places}f}]" if lopsided(cell) else half
    return Shown(value, interval, cell.published, cell.note)


def run_of(name: str, jobs: Mapping[Path, Path]) -> dict[str, Any]:
    """What training an experiment took; the benchmarks of jobs that ran elsewhere may be missing."""
    used = [line for path in jobs.values() if path.exists() for line in tsv(path)]
    params = [read_params(folder) for folder in jobs]
    return {
        "name": name,
        "folders": list(jobs),
        "seeds": sum(len(own["seeds"]) for own in params),
        "parameters": next((own["parameters"] for own in params if isinstance(own.get("parameters"), int)), None),
        "device": ", ".join(dict.fromkeys(str(own["device"]) for own in params)),
        "seconds": total(used, "s"),
        "cpu": total(used, "cpu_time"),
        "memory": max((float(line["max_rss"]) for line in used if line["max_rss"] not in {"-", "NA"}), default=0),
    }


def tsv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def total(lines: Iterable[Mapping[str, str]], column: str) -> float:
    """The sum of a column of benchmarks; what was too short to be measured counts nothing."""
    return sum(float(line[column]) for line in lines if line[column] not in {"-", "NA"})


def environment(parts: Sequence[Part]) -> dict[str, str]:
    """What the runs used, as they say themselves, and the machine that writes this."""
    found: dict[str, dict[str, None]] = {}
    for folder in (folder for part in parts for jobs in part.trained.values() for folder in jobs):
        params = read_params(folder)
        stated = {**params.get("versions", {}), **{name: params[name] for name in ("device", "precision", "threads")}}
        for name, value in stated.items():
            found.setdefault(name, {})[value if isinstance(value, str) else json.dumps(value)] = None
    return {name: ", ".join(values) for name, values in found.items()} | {"system of this page": platform.platform()}
