"""Makes one table of a paper: a CSV with one line a cell, and Markdown as the paper prints it.

    python -m workflow_scripts.tables.make --paper boes_avsed --table table3 --scale mini --definition @table3.json \\
        --published papers/boes_avsed/published.csv --scores S=work/mini/scores/boes_avsed/S \\
        --output table3.csv --markdown table3.md
"""

from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.settings.base import from_argument, pairs, read_json
from workflow_scripts.settings.tables import Table
from workflow_scripts.shards import atomic
from workflow_scripts.tables.cells import Cell, Maker, read_published, with_published, write_cells
from workflow_scripts.tables.evidence import Evidence
from workflow_scripts.tables.markdown import render


def main(
    paper: Annotated[str, typer.Option(help="name of the paper")],
    table: Annotated[str, typer.Option(help="name of the table, as in published.csv")],
    scale: Annotated[str, typer.Option(help="scale at which was measured")],
    definition: Annotated[str, typer.Option(help="the table's rows, columns and cells, JSON or @file.json")],
    published: Annotated[Path, typer.Option(help="the paper's printed cells")],
    output: Annotated[Path, typer.Option(help="the table as CSV, one line a cell")],
    markdown: Annotated[Path, typer.Option(help="the table as printed")],
    scores: Annotated[list[str] | None, typer.Option(help="experiment=folder with counts.parquet, repeated")] = None,
    values: Annotated[list[str] | None, typer.Option(help="name=file.json with statistics, repeated")] = None,
    settings: Annotated[
        list[str] | None, typer.Option(help="experiment=JSON of its system's settings, repeated")
    ] = None,
    facts: Annotated[list[str] | None, typer.Option(help="experiment=folder of its training jobs, repeated")] = None,
    replicates: Annotated[int, typer.Option(min=100, help="bootstrap replicates")] = 1000,
) -> None:
    """Makes one table, its intervals by a bootstrap over seeds and clips."""
    checked = Table.check(from_argument(definition), "--definition")
    printed = {place: cell for (name, place), cell in read_published(published).items() if name == table}
    blank = Cell(paper=paper, table=table, group="", row="", column="", scale=scale)
    evidence = Evidence({name: Path(folder) for name, folder in pairs(scores, "scores").items()}, replicates)
    files = {name: read_json(Path(file)) for name, file in pairs(values, "values").items()}
    models = {name: from_argument(text) for name, text in pairs(settings, "settings").items()}
    for name in checked.modelled():
        if name not in models:
            raise UserError(f"--settings: the settings of experiment '{name}' are missing")
    jobs = {
        name: [read_json(path) for path in sorted(Path(folder).glob("seeds-*/params.json"))]
        for name, folder in pairs(facts, "facts").items()
    }
    cells = with_published(Maker(checked, evidence, blank).cells(files, models, jobs), printed, blank)
    if not cells:
        raise UserError(f"--definition: the table '{table}' has no cell, and {published} prints none")
    write_cells(output, cells)
    with atomic(markdown) as temporary:
        temporary.write_text(render(checked.title, cells, checked.comparable), encoding="utf-8")


if __name__ == "__main__":
    run(lambda: typer.run(main))
