"""Brings an MLflow store up to date with the files that the jobs wrote; doing it twice changes nothing."""

import hashlib
import json
import logging
import os
import re
import subprocess
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from filelock import FileLock

from workflow_scripts.errors import UserError
from workflow_scripts.settings.config import VARIABLE
from workflow_scripts.shards import atomic
from workflow_scripts.tracking.items import (
    Item,
    Place,
    dataset_of,
    figures_item,
    file_item,
    row_item,
    training_items,
)
from workflow_scripts.tracking.plan import SyncTable, SyncTracking, check_scheme
from workflow_scripts.tracking.store import UnsyncedError, database_file, redacted, sync
from workflow_scripts.training.answers import samples_of

log = logging.getLogger(__name__)

ROWS = "params.seeds LIKE '%'"  # a search for the runs of rows alone: a page of MLflow's list holds 100 runs
SAMPLES = 20  # clips of a row whose answers are shown; the first ones are those of the report
LONGEST_WAIT = 300  # seconds, for another sync of the same store


def sync_tracking(job: SyncTracking, output: Path) -> None:
    """Syncs a paper and writes what became of it."""
    write(synced(job, output), output)


def sync_table(job: SyncTable, output: Path) -> None:
    """The same of all papers that have a table; the output counts the most failures of one, and has all reports."""
    reports = {paper.paper: synced(paper, output) for paper in job.papers}
    write({"failures": max(report["failures"] for report in reports.values()), "papers": reports}, output)


def write(report: dict[str, Any], output: Path) -> None:
    with atomic(output) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def synced(job: SyncTracking, output: Path) -> dict[str, Any]:
    """Syncs a paper's training runs into the MLflow experiment PAPER/SCALE, files of results into `…/tables`.

    A store that cannot be reached is a warning, not an error: the report then says `"synced": false`, and counts one
    failure more, by which the next run tries again.
    """
    check_scheme(job.uri)
    runs = [item for name in job.jobs for item in items_of(job, name)]
    files = [file_item(path) for path in [*job.tables, *([job.coverage] if job.coverage else [])]]
    files += [figures_item(job.figures)] if job.figures else []
    experiments = {f"{job.paper}/{job.scale}": runs, f"{job.paper}/{job.scale}/tables": files}
    lock_sha256 = hashlib.sha256(job.lock.read_bytes()).hexdigest()
    tags = {"paper": job.paper, "scale": job.scale, **git_tags(), "lock_sha256": lock_sha256}
    uri = filled(job.uri)
    report: dict[str, Any] = {"tracking_uri": redacted(uri, uri), "synced": True, "failures": job.failures}
    report["experiments"] = {}
    lock_file = (database_file(uri) or output).with_suffix(".lock")
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock_file, timeout=LONGEST_WAIT):
            for name, records in experiments.items():
                number, ids, counts = sync(uri, name, records, tags, job.about)
                report["experiments"][name] = ids
                log.info("MLflow %s: %s", name, ", ".join(f"{count} {what}" for what, count in counts.items()))
                if rows := [ids[item.name] for item in records if item.later]:
                    log.info("its rows: %s", page(uri, f"experiments/{number}/runs", searchFilter=ROWS))
                    compared = {"runs": json.dumps(rows), "experiments": json.dumps([number])}
                    log.info("its rows side by side: %s", page(uri, "compare-runs", **compared))
    except (UnsyncedError, OSError) as error:
        log.warning("MLflow at %s is not synced, which changes no result: %s", report["tracking_uri"], error)
        report |= {"synced": False, "failures": job.failures + 1, "reason": str(error)}
    return report


def items_of(job: SyncTracking, name: str) -> list[Item]:
    """The run of an experiment, and below it those of its seeds."""
    about, folders, scores = job.trained.get(name), job.jobs[name], job.scores.get(name)
    if about is None:
        return training_items(name, folders, scores)
    source = f"papers/{job.paper}/paper.yaml: experiments.{name}"
    common = {"source": source, "dataset": dataset_of(about.corpus, about.manifest)}
    seeds = training_items(name, folders, scores, about.benchmarks, above=name, **common)
    places = [Place(*place) for place in about.places]
    predictions = folders[0] / "predictions.parquet"
    samples = partial(samples_of, predictions, about.manifest, SAMPLES) if predictions.exists() else None
    return [row_item(name, about.label, seeds, job.tables, places, samples=samples, **common), *seeds]


def page(uri: str, place: str, **asked: str) -> str:
    """A page of MLflow for training; those of a database are at the address that docs/tracking.md tells.

    Without `workflowType` MLflow 3 opens what was open last in a browser, at first its pages for language models.
    """
    server = uri.rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    query = urlencode({**asked, "workflowType": "machine_learning"}, quote_via=quote)
    return f"{redacted(server, uri)}/#/{place}?{query}"


def filled(uri: str) -> str:
    """A tracking URI with the values of the environment variables that it names, quoted as a URI needs it."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise UserError(
                f"tracking_uri: the environment variable {match[1]} is not set where the job runs: export it"
            )
        return quote(os.environ[match[1]], safe="")

    return VARIABLE.sub(value, uri)


def git_tags() -> dict[str, str]:
    """The commit of this checkout and whether files differ from it; nothing outside of git."""
    command = ["git", "status", "--porcelain=v2", "--branch"]
    try:
        answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return {}
    lines = answer.stdout.splitlines()
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid")), "unknown")
    dirty = any(not line.startswith("#") for line in lines)
    return {"mlflow.source.git.commit": commit, "git_dirty": str(dirty).lower()}
