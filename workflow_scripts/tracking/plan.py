"""The job that brings a paper's runs and tables into MLflow."""

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import Field

from workflow_scripts.corpora.plan import manifest
from workflow_scripts.errors import UserError
from workflow_scripts.figures.plan import pictures
from workflow_scripts.files import read_json
from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.scores.plan import scored
from workflow_scripts.settings.base import MANNER, Strict
from workflow_scripts.tables.plan import declared, regular, with_table
from workflow_scripts.training import plan as training

if TYPE_CHECKING:
    from workflow_scripts.settings.scale import Scale

SCHEMES = {"sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks"}
SQLITE = b"SQLite format 3\0"  # how a database begins


class Trained(Strict):
    """An experiment: where it stands in tables, what it learns from, and its jobs with their benchmarks."""

    label: str
    places: list[tuple[str, str, str]]  # table, group, row
    corpus: str
    manifest: Annotated[Path, MANNER]
    benchmarks: Annotated[dict[Path, Path], MANNER]


class SyncTracking(Job):
    """All that a paper's runs have written: folders of training jobs and files of scores by experiment, tables.

    `about` describes the paper; `lock` pins the environment, its hash is a tag.
    """

    step = "workflow_scripts.tracking.sync:sync_tracking"
    cheap = True
    verbose = True

    paper: str
    scale: str
    about: str = ""
    uri: str
    trained: dict[str, Trained] = Field({})
    jobs: Annotated[dict[str, list[Path]], MANNER]
    scores: Annotated[dict[str, Path], INPUT]
    tables: Annotated[list[Path], INPUT]
    coverage: Annotated[Path | None, INPUT] = None
    figures: Annotated[list[Path], INPUT] = Field([])
    lock: Annotated[Path, MANNER]
    failures: int = 0  # of the runs before, each of which left the store as it was: with another number it runs again

    def files(self) -> list[Path]:
        """The files that must be there."""
        return [*self.scores.values(), *self.tables]


class SyncTable(Job):
    """A table of all papers that have it, with the runs that it needs."""

    step = "workflow_scripts.tracking.sync:sync_table"
    cheap = True
    verbose = True

    papers: list[SyncTracking]
    needed: Annotated[list[Path], INPUT]


def sync_tracking(scale: "Scale", paper: str) -> SyncTracking:
    """A whole paper."""
    report, coverage = scale.work / "tracking" / f"{paper}.json", scale.result(paper, "coverage.csv")
    whole = {"coverage": coverage, "figures": pictures(scale, paper)}
    return of_tables(scale, paper, regular(scale, paper), report).model_copy(update=whole)


def sync_table(scale: "Scale", table: str) -> SyncTable:
    """What a front door brings into MLflow."""
    report = scale.work / "tracking" / "tables" / f"{table}.json"
    found = [of_tables(scale, paper, [table], report) for paper in with_table(scale, table)]
    return SyncTable(papers=found, needed=[path for one in found for path in one.files()])


def of_tables(scale: "Scale", paper: str, tables: list[str], report: Path) -> SyncTracking:
    trained = list(dict.fromkeys(name for table in tables for name in declared(scale, paper, table).experiments()))
    about = scale.paper(paper)
    return SyncTracking(
        paper=paper,
        scale=scale.name,
        about=f"**{about.title}** ({about.citation}), at the scale `{scale.name}`. [The paper]({about.url})",
        trained={name: of_experiment(scale, paper, name) for name in trained},
        uri=scale.config.tracking_uri,
        jobs={name: training.folders(scale, paper, name) for name in trained},
        scores={name: scored(scale, paper, name, "scores.parquet") for name in trained},
        tables=[scale.result(paper, f"{table}.csv") for table in tables],
        lock=scale.root / "envs" / "requirements.txt",
        failures=failures(report),
    )


def of_experiment(scale: "Scale", paper: str, name: str) -> Trained:
    """What is told of an experiment; its label is the first that a table of the paper gives it."""
    rows = [
        (table, row.group, row.label)
        for table in regular(scale, paper)
        for row in declared(scale, paper, table).rows
        if row.experiment == name
    ]
    corpus = training.experiment_corpus(scale, paper, name)
    return Trained(
        label=rows[0][2] if rows else name,
        places=rows,
        corpus=corpus,
        manifest=manifest(scale, corpus),
        benchmarks=training.benchmarks(scale, paper, name),
    )


def failures(report: Path) -> int:
    """How often a sync has failed, by what the last one has written."""
    with contextlib.suppress(UserError, AttributeError, TypeError, ValueError):
        return int(read_json(report).get("failures", 0)) if report.exists() else 0
    return 0


def check_address(uri: str | None) -> None:
    """A tracking address that no sync can use is a `UserError`; whether a server answers is not asked."""
    if uri is None:
        return
    where, kind = "config.yaml: tracking_uri", check_scheme(uri)
    if "%" in sys.prefix and kind not in {"http", "https", "databricks"}:  # it takes it for a variable's sign
        raise UserError(f"{where}: MLflow makes no database if its own path has a %, {sys.prefix}; write null")
    if kind == "sqlite":
        start, _, path = uri.partition("?")[0].partition(":///")
        if ":" in start or not path:
            raise UserError(f"{where}: of an SQLite database give sqlite:/// and its path: sqlite:///results/mlflow.db")
        refuse_database(Path(path), where)
    elif kind in {"http", "https"}:
        try:
            host, _ = urlsplit(uri).hostname, urlsplit(uri).port
        except ValueError:
            host = None
        if not host:
            raise UserError(f"{where}: names no server; expected http://host:port")
    elif kind != "databricks":
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import SQLAlchemyError

        try:
            make_url(uri).get_dialect().import_dbapi()
        except (ImportError, SQLAlchemyError, ValueError) as error:
            raise UserError(f"{where}: no driver of {kind} databases is installed ({type(error).__name__})") from None


def check_scheme(uri: str) -> str:
    """The kind of a store; an address of none is a `UserError`."""
    kind = uri.partition(":")[0].partition("+")[0]
    if kind not in SCHEMES:
        raise UserError(
            "config.yaml: tracking_uri: give a database or a server, such as sqlite:///results/mlflow.db, or null"
        )
    return kind


def refuse_database(path: Path, where: str) -> None:
    """A path at which no SQLite database is, nor can be made, is a `UserError`."""
    if path.exists():
        if not path.is_file():
            raise UserError(f"{where}: {path} is no file; name the file of a database")
        with path.open("rb") as file:
            if file.read(len(SQLITE)) not in {SQLITE, b""}:
                raise UserError(f"{where}: {path} is no SQLite database; name another file, or remove it")
    above = next(folder for folder in (path, *path.parents, Path("/")) if folder.exists())
    if not os.access(above, os.W_OK) or not (above.is_dir() or above == path):
        raise UserError(f"{where}: {path} cannot be written; name another place")
