"""Writes a report: one page that opens offline and loads nothing."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workflow_scripts.comparability import beside_the_paper
from workflow_scripts.files import read_benchmark, read_csv
from workflow_scripts.report.examples import as_mappings, data_url
from workflow_scripts.report.plan import Part, Titled, WriteReport
from workflow_scripts.shards import atomic
from workflow_scripts.tables.cells import MEASURED, Cell
from workflow_scripts.tables.closing import tally
from workflow_scripts.tables.markdown import groups, on_clips, on_training, pieces
from workflow_scripts.training.outputs import read_params

HERE = Path(__file__).parent


def write_report(job: WriteReport, output: Path) -> None:
    """Writes the page of some papers."""
    import jinja2

    loader = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    loader.filters["pieces"] = pieces
    loader.filters["path"] = lambda path: quote(os.path.relpath(path, output.parent))
    parts = [shown(part) for part in job.parts]
    claims = [claim for part in parts for claim in part["claims"]]
    runs = [run for part in parts for run in part["runs"]]
    page = loader.get_template("page.html.j2").render(
        scale=job.scale,
        rest=job.rest,
        parts=parts,
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        claims=len(claims),
        verdicts=tally(claims),
        environment=environment(runs),
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
        "examples": as_mappings(part.examples),
        "runs": [run_of(name, jobs) for name, jobs in part.trained.items()],
    }


def table_of(table: Titled) -> dict[str, Any]:
    """A table as the paper prints it: groups of rows by columns."""
    cells = [Cell(**line) for _, line in read_csv(table.file)]
    measured = [cell for cell in cells if cell.status in MEASURED]
    differs = next((cell.differs for cell in measured if cell.differs), "")
    notes = [note for cell in cells for note in cell.note.split("; ") if note]
    return {
        "title": table.title,
        "file": table.file,
        "measured": bool(measured),
        "about": beside_the_paper(differs).replace("`", "") if measured else "read off the paper's model, without data",
        "sentences": [sentence.replace("**", "") for sentence in on_clips(measured) + on_training(measured)],
        "notes": list(dict.fromkeys(notes)),
        "groups": groups(cells),
    }


def run_of(name: str, jobs: Mapping[Path, Path]) -> dict[str, Any]:
    """What training an experiment took; the benchmarks of jobs that ran elsewhere may be missing."""
    used = [line for path in jobs.values() if path.exists() for line in read_benchmark(path)]
    params = [read_params(folder) for folder in jobs]
    return {
        "name": name,
        "folders": list(jobs),
        "params": params,
        "seeds": sum(len(own["seeds"]) for own in params),
        "parameters": next((own["parameters"] for own in params if isinstance(own.get("parameters"), int)), None),
        "device": ", ".join(dict.fromkeys(str(own["device"]) for own in params)),
        "seconds": sum(line["s"] for line in used),
        "cpu": sum(line["cpu_time"] for line in used),
        "memory": max((line["max_rss"] for line in used), default=0),
    }


def environment(runs: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """What the runs used, as they say themselves, and the machine that writes this."""
    found: dict[str, dict[str, None]] = {}
    for params in (params for run in runs for params in run["params"]):
        stated = {**params.get("versions", {}), **{name: params[name] for name in ("device", "precision", "threads")}}
        for name, value in stated.items():
            found.setdefault(name, {})[value if isinstance(value, str) else json.dumps(value)] = None
    return {name: ", ".join(values) for name, values in found.items()} | {"system of this page": platform.platform()}
