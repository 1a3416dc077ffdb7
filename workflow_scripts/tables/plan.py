"""The jobs that make tables, check claims and count coverage."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from workflow_scripts.comparability import Basis, basis, features_of
from workflow_scripts.corpora.plan import manifest
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.features import plan as features
from workflow_scripts.files import read_csv
from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.media import plan as media
from workflow_scripts.scores.plan import scored
from workflow_scripts.settings import papers
from workflow_scripts.settings.base import MANNER, Strict, in_order, read_yaml
from workflow_scripts.settings.claims import Claims
from workflow_scripts.settings.plugins import ANALYTIC
from workflow_scripts.settings.tables import Table
from workflow_scripts.training import plan as training

if TYPE_CHECKING:
    from workflow_scripts.settings.scale import Scale

# tables


class MakeTable(Job):
    """One table: a CSV with one line a cell, and Markdown and LaTeX as the paper prints it.

    `basis` is what its numbers rest on, which `ledgers` are read for; `replicates`, `counts` and `manifests` are those
    of the scored experiments; `values` are files of statistics by name, `facts` the parameters of an experiment's
    training jobs, beside which are the `histories`, `courses` the same of the scored experiments; `models` the
    experiments, as the paper sets them, that cells are read off.
    """

    step = "workflow_scripts.tables.make:make_table"
    cheap = True

    paper: str
    name: str
    scale: str
    table: Table
    published: Annotated[Path, INPUT]
    basis: Basis = Basis()
    ledgers: Annotated[list[Path], INPUT] = Field([])
    replicates: Annotated[dict[str, Path], INPUT] = Field({})
    counts: Annotated[dict[str, Path], INPUT] = Field({})
    manifests: Annotated[dict[str, Path], INPUT] = Field({})
    common_clips: bool = False
    values: Annotated[dict[str, Path], INPUT] = Field({})
    facts: Annotated[dict[str, list[Path]], INPUT] = Field({})
    courses: Annotated[dict[str, list[Path]], INPUT] = Field({})
    histories: Annotated[list[Path], INPUT] = Field([])
    models: dict[str, Any] = Field({})

    def modules(self) -> list[str]:
        return [*super().modules(), *sorted({f"{ANALYTIC}.{part.name}" for part in self.table.analytic})]


def make_table(scale: "Scale", paper: str, table: str) -> MakeTable:
    from workflow_scripts.settings.scale import Scale  # which jobs, that import this module, do without

    chosen = declared(scale, paper, table)
    paper_scale = Scale(scale.root, scale.config, "full") if chosen.modelled() else scale
    rests_on = basis_of(scale, paper, chosen)
    return MakeTable(
        paper=paper,
        name=table,
        scale=scale.name,
        table=chosen,
        published=published(scale, paper),
        basis=rests_on,
        ledgers=rests_on.ledgers(),
        **evidence(scale, paper, chosen.experiments()),
        values={name: values(scale, paper, name) for name in chosen.files_of_values()},
        courses={name: training.outputs(scale, paper, name, "params.json") for name in chosen.experiments()},
        **told(scale, paper, chosen.reporting()),
        models={name: described(paper_scale, paper, name) for name in chosen.modelled()},
    )


def told(scale: "Scale", paper: str, names: list[str]) -> dict[str, Any]:
    """What training jobs of some experiments report, and their histories."""
    return {
        "facts": {name: training.outputs(scale, paper, name, "params.json") for name in names},
        "histories": [path for name in names for path in training.outputs(scale, paper, name, "history.parquet")],
    }


def basis_of(scale: "Scale", paper: str, table: Table) -> Basis:
    """What a table's numbers rest on."""
    return basis(scale, paper, [*table.experiments(), *table.reporting()], table.files_of_values())


def evidence(scale: "Scale", paper: str, names: list[str]) -> dict[str, Any]:
    """What measured cells are read from, of the scored experiments, and whether on the clips that all have."""
    corpora = {name: training.experiment_corpus(scale, paper, name) for name in names}
    return {
        "replicates": {name: scored(scale, paper, name, "replicates.parquet") for name in names},
        "counts": {name: scored(scale, paper, name, "counts.parquet") for name in names},
        "manifests": {name: manifest(scale, corpus) for name, corpus in corpora.items()},
        "common_clips": scale.config.common_clips,
    }


def declared(scale: "Scale", paper: str, name: str) -> Table:
    """A table of a paper; `sweep_<name>` is the table of a sweep.

    A number of seeds chosen by the user keeps the paper's share of selected ones.
    """
    tables, sweeps = scale.paper(paper).tables, scale.paper(paper).sweeps
    sweep = name.removeprefix("sweep_")
    if name.startswith("sweep_") and sweep in sweeps:
        return papers.sweep_table(scale.paper(paper), sweep)
    if name not in tables:
        known = [*tables, *(f"sweep_{sweep}" for sweep in sweeps)]
        raise UserError(f"{scale.place(paper)}: no table '{name}'{did_you_mean(name, known)}")
    return with_seeds(Table.check(tables[name], f"{scale.place(paper)}: tables.{name}"), scale.config.seeds)


def regular(scale: "Scale", paper: str) -> list[str]:
    """The tables of a paper but those that are made on request."""
    return [name for name in scale.paper(paper).tables if not declared(scale, paper, name).on_request]


def with_seeds(table: Table, seeds: int | None) -> Table:
    """The table when another number of seeds is trained: the same share of them is selected."""
    if seeds is None or table.selection is None:
        return table
    best = max(1, round(table.selection.best / table.selection.of * seeds))
    return table.model_copy(update={"selection": table.selection.model_copy(update={"best": best, "of": seeds})})


def described(scale: "Scale", paper: str, name: str) -> dict[str, Any]:
    """An experiment with all that it is built from."""
    experiment = training.declared(scale, paper, name)
    own = {feature: scale.declared(paper, "features", feature).model_dump() for feature in experiment.features}
    seconds = scale.corpus(training.experiment_corpus(scale, paper, name)).clip_seconds
    return in_order({**experiment.model_dump(mode="json"), "features": own, "clip_seconds": seconds})


def published(scale: "Scale", paper: str) -> Path:
    """The printed numbers of a paper."""
    return scale.folder(paper) / "published.csv"


def values(scale: "Scale", paper: str, name: str) -> Path:
    """A file of values: the coverage, or a reduction."""
    if name in scale.paper(paper).reductions:
        return features.reduced(scale, paper, name)
    return scale.work / "tables" / paper / f"{name}.json"


class DrawTable(Job):
    """A picture of a table's scores, in two formats."""

    step = "workflow_scripts.tables.picture:draw_table"
    cheap = True

    cells: Annotated[Path, INPUT]
    title: str


def draw_table(scale: "Scale", paper: str, table: str) -> DrawTable:
    return DrawTable(cells=scale.result(paper, f"{table}.csv"), title=declared(scale, paper, table).title)


# claims


class CheckClaims(Job):
    """What a paper concludes against what was measured: a CSV with one line a claim, and Markdown for people."""

    step = "workflow_scripts.tables.claims:check_claims"
    cheap = True

    paper: str
    scale: str
    claims: Claims
    tables: dict[str, Table]
    basis: dict[str, Basis] = Field({})  # of each table
    ledgers: Annotated[list[Path], INPUT] = Field([])
    published: Annotated[Path, INPUT]
    replicates: Annotated[dict[str, Path], INPUT]
    counts: Annotated[dict[str, Path], INPUT]
    manifests: Annotated[dict[str, Path], INPUT]
    common_clips: bool = False
    values: Annotated[dict[str, Path], INPUT] = Field({})  # files of the statistics that claims name
    paper_counts: dict[str, dict[str, int]] = Field({})  # clips of each split that the paper had, by experiment
    facts: Annotated[dict[str, list[Path]], INPUT] = Field({})  # `params.json` of the experiments whose reports count
    histories: Annotated[list[Path], INPUT] = Field([])  # beside them
    replicates_of_seeds: int = 1000


def check_claims(scale: "Scale", paper: str, claims: str = "claims") -> CheckClaims:
    """All claims of a paper, or as `table3_claims` those that rest on that table alone."""
    found = declared_claims(scale, paper)
    if claims != "claims":
        table = claims.removesuffix("_claims")
        resting = [claim for claim in found.claims if {cell.table for cell in claim.check_of.cells()} == {table}]
        found = found.model_copy(update={"claims": resting})
    cells = [cell for claim in found.claims for cell in claim.check_of.cells()]
    names = sorted({cell.table for cell in cells})
    tables = {name: declared(scale, paper, name) for name in names}
    experiments = list(dict.fromkeys(name for table in tables.values() for name in table.experiments()))
    rests_on = {name: basis_of(scale, paper, table) for name, table in tables.items()}
    counted = [tables[cell.table].statistic_at(cell.group, cell.row, cell.column) for cell in cells]
    reported = [tables[cell.table].fact_at(cell.group, cell.row, cell.column) for cell in cells]
    return CheckClaims(
        paper=paper,
        scale=scale.name,
        claims=found,
        tables=tables,
        basis=rests_on,
        ledgers=list(dict.fromkeys(path for one in rests_on.values() for path in one.ledgers())),
        published=published(scale, paper),
        **evidence(scale, paper, experiments),
        values={name: values(scale, paper, name) for name in dict.fromkeys(c.values for c in counted if c)},
        **told(scale, paper, list(dict.fromkeys(c.experiment for c in reported if c))),
        replicates_of_seeds=scale.config.bootstrap,
        paper_counts={
            name: scale.paper(paper).counts.get(training.declared(scale, paper, name).corpus, {})
            for name in experiments
        },
    )


def declared_claims(scale: "Scale", paper: str) -> Claims:
    return Claims.check(read_yaml(scale.folder(paper) / "claims.yaml"), f"{scale.place(paper)}/claims.yaml")


# coverage


class Ledger(Strict):
    """One stage of a corpus of a paper, with the paper's name for it: its files, and how many clips the paper had.

    Of a stage after the first only the clips count that came in: those that are ok in the files `before`.
    """

    paper: str
    name: str
    corpus: str
    manifest: Annotated[Path | None, MANNER]  # null: the ledger is of record files, which state their part themselves
    clips: Annotated[list[Path], MANNER]
    before: Annotated[list[Path], MANNER] = Field([])
    published: dict[str, int] = Field({})

    def files(self) -> list[Path]:
        """All that is read of it."""
        return [*([self.manifest] if self.manifest else []), *self.clips, *self.before]


class CountCoverage(Job):
    """Of every split, what each stage was asked for and got, beside the counts that the paper reports."""

    step = "workflow_scripts.tables.coverage:count_coverage"
    cheap = True

    scale: str
    ledgers: list[Ledger]
    needed: Annotated[list[Path], INPUT]  # the ledgers' files


class CountClips(CountCoverage):
    """The same of what can be had, before anything is made of it."""

    step = "workflow_scripts.tables.coverage:count_clips"


def count_clips(scale: "Scale", paper: str) -> CountClips:
    found = ledgers(scale, paper)
    return CountClips(scale=scale.name, ledgers=found, needed=files_of(found))


def count_coverage(scale: "Scale", paper: str) -> CountCoverage:
    found = [*ledgers(scale, paper), *later_ledgers(scale, paper)]
    return CountCoverage(scale=scale.name, ledgers=found, needed=files_of(found))


def files_of(found: list[Ledger]) -> list[Path]:
    return list(dict.fromkeys(path for ledger in found for path in ledger.files()))


def ledgers(scale: "Scale", paper: str) -> list[Ledger]:
    """What tells what could be had: of each corpus the clips, the texts and the record files."""
    chosen, found = scale.paper(paper), []
    for alias, corpus in chosen.corpora.items():
        rows = manifest(scale, corpus)
        counted, clips = chosen.counts.get(alias, {}), media.clips(scale, corpus)
        found.append(Ledger(paper=paper, name=alias, corpus=corpus, manifest=rows, clips=clips, published=counted))
        if scale.corpus(corpus).text is not None:
            texts = media.shards(scale, corpus, "text")
            name = f"{alias} texts"
            found.append(Ledger(paper=paper, name=name, corpus=f"{corpus}, texts", manifest=rows, clips=texts))
        for level in levels(scale, paper, corpus):
            files = media.shards(scale, corpus, f"records-{level}")
            name, of = f"{alias} {level} files", f"{corpus}, {level} record files"
            found.append(Ledger(paper=paper, name=name, corpus=of, manifest=None, clips=files))
    return found


def later_ledgers(scale: "Scale", paper: str) -> list[Ledger]:
    """What tells what became of clips that could be had: the sound and features that the paper's tables need."""
    tables = [declared(scale, paper, name) for name in regular(scale, paper)]
    needed = features_of(scale, paper, [name for table in tables for name in table.experiments()])
    found: dict[str, Ledger] = {}
    for name in needed:
        corpus, settings = features.feature_corpus(scale, paper, name), features.extractor(scale, paper, name)
        rows = manifest(scale, corpus)
        before = {"text": media.shards(scale, corpus, "text"), "frames": media.clips(scale, corpus)}.get(
            settings.source, [rows]
        )
        if settings.source == "audio":
            sound, before = f"{corpus}, sound at {settings.sample_rate} Hz", media.clips(scale, corpus)
            shards = media.shards(scale, corpus, f"audio-{settings.sample_rate}")
            found[sound] = Ledger(paper=paper, name=sound, corpus=sound, manifest=rows, clips=shards, before=before)
            before = shards
        made = f"{corpus}, {'captions' if settings.source == 'captions' else 'features'} {name}"
        clips = features.feature_shards(scale, paper, name)
        found[made] = Ledger(paper=paper, name=made, corpus=made, manifest=rows, clips=clips, before=before)
    return list(found.values())


def levels(scale: "Scale", paper: str, corpus: str) -> list[str]:
    """The levels at which a paper needs a corpus's record files."""
    names = [name for name in scale.paper(paper).features if features.feature_corpus(scale, paper, name) == corpus]
    extractors = [features.extractor(scale, paper, name) for name in names]
    return sorted({extractor.level for extractor in extractors if extractor.source == "records"})


# the files of several papers


class JoinPapers(Job):
    """The CSV files of several papers under one header."""

    step = "workflow_scripts.tables.join:join_papers"
    cheap = True

    tables: Annotated[list[Path], INPUT]


class OpenFrontDoor(JoinPapers):
    """A table of all papers that have it, and the claims that rest on it; `others` are made along with it."""

    step = "workflow_scripts.tables.join:open_front_door"

    claims: Annotated[list[Path], INPUT]
    others: Annotated[list[Path], INPUT]


def join_papers(scale: "Scale", kind: str) -> JoinPapers:
    return JoinPapers(tables=[scale.result(paper, f"{kind}.csv") for paper in scale.papers])


def open_front_door(scale: "Scale", table: str) -> OpenFrontDoor:
    """A table of all papers that have it, with its claims, its pictures and its tracking."""
    chosen = with_table(scale, table)
    others = [scale.result(paper, f"{table}.png") for paper in chosen if declared(scale, paper, table).scores()]
    if scale.config.tracking_uri is not None:
        others.append(scale.work / "tracking" / "tables" / f"{table}.json")
    return OpenFrontDoor(
        tables=[scale.result(paper, f"{table}.csv") for paper in chosen],
        claims=[scale.result(paper, f"{table}_claims.csv") for paper in chosen],
        others=others,
    )


def with_table(scale: "Scale", name: str) -> list[str]:
    """The chosen papers that have a table of this name."""
    found = [paper for paper in scale.papers if name in scale.paper(paper).tables]
    if not found:
        raise UserError(f"no chosen paper has a '{name}'{did_you_mean(name, front_doors(scale))}")
    return found


def open_doors(scale: "Scale") -> list[str]:
    """The front doors whose tables are there, made at this scale of the papers that are chosen."""
    found = []
    for table in front_doors(scale):
        path = Path("results", f"{table}.csv")
        lines = [line for _, line in read_csv(path)] if path.exists() else []
        places = {(line["paper"], line["scale"]) for line in lines}
        if places and places <= {(paper, scale.name) for paper in with_table(scale, table)}:
            found.append(table)
    return found


def front_doors(scale: "Scale") -> list[str]:
    """The numbered tables of the chosen papers, each name once."""
    names = {name for paper in scale.papers for name in scale.paper(paper).tables}
    return sorted(name for name in names if name.removeprefix("table").isdecimal())
