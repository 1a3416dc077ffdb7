"""Brings an MLflow store up to date with the files that the jobs wrote; doing it twice changes nothing."""

import hashlib
import json
import logging
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer
from filelock import FileLock

from workflow_scripts.errors import UserError, run
from workflow_scripts.shards import atomic
from workflow_scripts.tracking.items import Item, coverage_item, table_item, training_items
from workflow_scripts.tracking.store import UnsyncedError, database_file, redacted, sync

log = logging.getLogger(__name__)

SCHEMES = {"sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks"}
LONGEST_WAIT = 300  # seconds, for another sync of the same store


def main(
    *,
    paper: Annotated[str, typer.Option(help="Paper that the runs belong to.")],
    scale: Annotated[str, typer.Option(help="Scale that they were run at.")],
    output: Annotated[Path, typer.Option(help="JSON to write: whether the store was reached, and the runs' ids.")],
    experiment: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FOLDER",
            help="Training folder of an experiment, repeated.",
            default_factory=list,
            show_default=False,
        ),
    ],
    scores: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=FOLDER",
            help="Folder with its scores.parquet, repeated.",
            default_factory=list,
            show_default=False,
        ),
    ],
    table: Annotated[
        list[Path],
        typer.Option(
            help="Csv of a table, repeated; the md beside it goes along.", default_factory=list, show_default=False
        ),
    ],
    coverage: Annotated[Path | None, typer.Option(help="Csv of the ledger's counts.")] = None,
    lock: Annotated[Path | None, typer.Option(help="File that pins the environment; its hash is a tag.")] = None,
    tracking_uri: Annotated[
        str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="sqlite:///FILE, https://SERVER, postgresql://…")
    ] = "sqlite:///results/mlflow.db",
) -> None:
    """Syncs a paper's training runs into the MLflow experiment PAPER/SCALE, tables and coverage into `…/tables`.

    A store that cannot be reached is a warning, not an error: the output then says `"synced": false`.
    """
    if tracking_uri.partition(":")[0].partition("+")[0] not in SCHEMES:
        raise UserError("--tracking-uri: give a database or a server, such as sqlite:///results/mlflow.db")
    experiments = {
        f"{paper}/{scale}": training(experiment, scores),
        f"{paper}/{scale}/tables": tables(table, coverage, paper),
    }
    tags = {"paper": paper, "scale": scale, **git_tags(), **lock_tags(lock)}
    report: dict[str, Any] = {"tracking_uri": redacted(tracking_uri, tracking_uri), "synced": True, "experiments": {}}
    lock_file = (database_file(tracking_uri) or output).with_suffix(".lock")
    try:
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock_file, timeout=LONGEST_WAIT):
            for name, items in experiments.items():
                runs, counts = sync(tracking_uri, name, items, tags)
                report["experiments"][name] = runs
                log.info("MLflow %s: %s", name, ", ".join(f"{count} {what}" for what, count in counts.items()))
    except (UnsyncedError, OSError) as error:
        log.warning("MLflow at %s is not synced, which changes no result: %s", report["tracking_uri"], error)
        report |= {"synced": False, "reason": str(error)}
    with atomic(output) as temporary:
        temporary.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def training(experiments: list[str], scores: list[str]) -> list[Item]:
    """The items of all experiments' seeds."""
    trained, scored = folders("--experiment", experiments), folders("--scores", scores)
    for name, found in scored.items():
        if name not in trained or len(found) > 1:
            raise UserError(f"--scores: '{name}' needs one folder of scores and an --experiment of that name")
    items: list[Item] = []
    for name, found in trained.items():
        items += training_items(name, found, scored[name][0] if name in scored else None)
    return items


def tables(paths: list[Path], coverage: Path | None, paper: str) -> list[Item]:
    """The items of the tables and of the ledger."""
    names = [path.stem for path in paths]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--table: two files are called '{name}', which is what a table is known by")
    return [table_item(path) for path in paths] + ([coverage_item(coverage, paper)] if coverage else [])


def folders(option: str, values: list[str]) -> dict[str, list[Path]]:
    """`NAME=FOLDER` arguments by name."""
    found: dict[str, list[Path]] = defaultdict(list)
    for value in values:
        name, _, folder = value.partition("=")
        if not (name and folder):
            raise UserError(f"{option}: expected NAME=FOLDER, found '{value}'")
        found[name].append(Path(folder))
    return found


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


def lock_tags(lock: Path | None) -> dict[str, str]:
    """The hash of the file that pins the environment."""
    if lock is None:
        return {}
    try:
        return {"lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest()}
    except OSError as error:
        raise UserError(f"{lock}: cannot be read ({error.strerror})") from None


if __name__ == "__main__":
    run(lambda: typer.run(main))
