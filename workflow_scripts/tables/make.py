"""Makes one table of a paper: a CSV with one line a cell, and Markdown and LaTeX as the paper prints it."""

from dataclasses import replace
from pathlib import Path

from workflow_scripts.comparability import differing
from workflow_scripts.errors import UserError
from workflow_scripts.files import read_json
from workflow_scripts.settings.tables import Fact
from workflow_scripts.shards import atomic
from workflow_scripts.tables import latex
from workflow_scripts.tables import markdown as as_markdown
from workflow_scripts.tables.cells import MEASURED, Cell, Maker, read_published, with_published, write_cells
from workflow_scripts.tables.courses import untrained
from workflow_scripts.tables.evidence import Evidence
from workflow_scripts.tables.plan import MakeTable
from workflow_scripts.tables.reports import reports


def make_table(job: MakeTable, output: Path, markdown: Path, tex: Path) -> None:
    """Makes one table, its intervals by a bootstrap over seeds and clips."""
    printed = {place: cell for (name, place), cell in read_published(job.published).items() if name == job.name}
    blank = Cell(paper=job.paper, table=job.name, group="", row="", column="", scale=job.scale)
    evidence = Evidence(job.replicates, job.counts, job.manifests)
    values = {name: read_json(path) for name, path in job.values.items()}
    asked = [cell for cell in job.table.cells if isinstance(cell, Fact)]
    facts = {
        name: reports(paths, [fact for fact in asked if fact.experiment == name]) for name, paths in job.facts.items()
    }
    courses = {name: untrained([read_json(path) for path in paths]) for name, paths in job.courses.items()}
    differs = differing(job.basis)
    measured = Maker(job.table, evidence, blank, job.common_clips, courses).cells(values, job.models, facts)
    rested = (replace(cell, differs=differs) if cell.status in MEASURED else cell for cell in measured)
    cells = with_published(rested, printed, blank)
    if not cells:
        raise UserError(f"the table '{job.name}' of {job.paper} has no cell, and {job.published} prints none")
    write_cells(output, cells)
    for path, kind in ((markdown, as_markdown), (tex, latex)):
        with atomic(path) as temporary:
            temporary.write_text(kind.render(job.table.title, cells), encoding="utf-8")
