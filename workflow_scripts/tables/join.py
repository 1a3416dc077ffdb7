"""Joins the CSV files of several papers into one: `results/table3.csv` from every paper's `table3.csv`.

python -m workflow_scripts.tables.join --input a/table3.csv --input b/table3.csv --output table3.csv
"""

import csv
from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.tables.cells import write_csv


def main(
    input: Annotated[list[Path], typer.Option(help="a CSV file, once for each paper")],
    output: Annotated[Path, typer.Option(help="all their lines under one header")],
) -> None:
    """Writes the lines of all files, which must have the same columns, and prints where they are."""
    header: list[str] = []
    lines: list[dict[str, str]] = []
    for path in input:
        try:
            with path.open(encoding="utf-8", newline="") as stream:
                reader = csv.DictReader(stream)
                lines += list(reader)
                found = list(reader.fieldnames or [])
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from None
        if found != (header := header or found):
            raise UserError(f"{path}: its columns are not those of {input[0]}")
    write_csv(output, header, lines)
    typer.echo(f"{len(lines)} lines in {output.resolve()}")


if __name__ == "__main__":
    run(lambda: typer.run(main))
