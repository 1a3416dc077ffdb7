"""The job that writes the report of a scale, and that of the front doors."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from workflow_scripts.corpora.plan import manifest
from workflow_scripts.features import plan as features
from workflow_scripts.figures import plan as figures
from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.media import plan as media
from workflow_scripts.settings.base import MANNER, Strict
from workflow_scripts.tables import plan as tables
from workflow_scripts.training import plan as training

if TYPE_CHECKING:
    from workflow_scripts.settings.scale import Scale

SHOWN = 8  # systems, at most, whose answers to a clip are shown


class Titled(Strict):
    """A file of results, as people call it."""

    title: str
    file: Path


class Examples(Strict):
    """Clips of one corpus to hear, and what one seed of some systems answered."""

    manifest: Path
    clips: list[Path] = Field([], description="ledgers of fetched clips, of a corpus that has any")
    store: Path
    answers: dict[str, Path] = Field(description="predictions by the row of the table")


class Part(Strict):
    """What the report tells of one paper; `trained` are the folders of its jobs and their benchmarks."""

    name: str
    title: str
    citation: str
    url: str
    tables: list[Titled]
    figures: list[Titled] = Field([])
    claims: Path
    coverage: Path | None = None
    examples: Examples | None = None
    trained: dict[str, dict[Path, Path]] = Field({})

    def files(self) -> list[Path]:
        """All files that must be there first."""
        found = [*(table.file for table in self.tables), *(figure.file for figure in self.figures), self.claims]
        found += [self.coverage] if self.coverage else []
        return [*found, *(folder / "params.json" for jobs in self.trained.values() for folder in jobs)]


class WriteReport(Job):
    """The page of some papers; `rest` is the command that makes what is not on it."""

    step = "workflow_scripts.report.write:write_report"
    cheap = True

    scale: str
    parts: Annotated[list[Part], MANNER]
    rest: str = ""
    needed: Annotated[list[Path], INPUT]

    def modules(self) -> list[str]:
        return [*super().modules(), "workflow_scripts.report.examples"]


def write_report(scale: "Scale") -> WriteReport:
    """The report of all that a scale has, of the chosen papers."""
    parts = []
    for paper in scale.papers:
        drawn = [
            Titled(title=figures.declared(scale, paper, name).title, file=scale.result(paper, f"{name}.png"))
            for name in scale.paper(paper).figures
        ]
        part = part_of(scale, paper, tables.regular(scale, paper), "claims")
        coverage = scale.result(paper, "coverage.csv")
        parts.append(part.model_copy(update={"figures": drawn, "coverage": coverage}))
    return of_parts(scale, parts)


def front_report(scale: "Scale", names: list[str]) -> WriteReport:
    """The report of some front doors."""
    found = [
        part_of(scale, paper, [name], f"{name}_claims") for name in names for paper in tables.with_table(scale, name)
    ]
    return of_parts(scale, found, rest="./run snakemake --cores all")


def of_parts(scale: "Scale", parts: list[Part], rest: str = "") -> WriteReport:
    needed = [path for part in parts for path in part.files()]
    return WriteReport(scale=scale.name, parts=parts, rest=rest, needed=list(dict.fromkeys(needed)))


def part_of(scale: "Scale", paper: str, names: list[str], claims: str) -> Part:
    """What is to be told of some tables of a paper."""
    declared = {name: tables.declared(scale, paper, name) for name in names}
    trained = list(dict.fromkeys(name for table in declared.values() for name in table.experiments()))
    about = scale.paper(paper)
    return Part(
        name=paper,
        title=about.title,
        citation=about.citation,
        url=about.url,
        tables=[Titled(title=table.title, file=scale.result(paper, f"{name}.csv")) for name, table in declared.items()],
        claims=scale.result(paper, f"{claims}.csv"),
        examples=examples(scale, paper, trained),
        trained={name: training.benchmarks(scale, paper, name) for name in trained},
    )


def examples(scale: "Scale", paper: str, trained: list[str]) -> Examples | None:
    """Clips of the first corpus of some experiments, and what their first seeds answered."""
    if not trained:
        return None
    corpus = training.experiment_corpus(scale, paper, trained[0])
    alike = [name for name in trained if training.experiment_corpus(scale, paper, name) == corpus][:SHOWN]
    streams = training.declared(scale, paper, trained[0]).features
    fetched = any(features.extractor(scale, paper, name).source in ("audio", "frames") for name in streams)
    return Examples(
        manifest=manifest(scale, corpus),
        clips=media.clips(scale, corpus) if fetched else [],
        store=media.media(scale, corpus),
        answers={name: training.folders(scale, paper, name)[0] / "predictions.parquet" for name in alike},
    )
