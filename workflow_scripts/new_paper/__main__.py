"""Writes the files of a paper, with comments, into a folder of one's own.

    python -m workflow_scripts.new_paper my_paper --folder my_papers

They are a paper that runs, two networks on VGGSound or on what the mini scale composes in its place, to be changed.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.settings import papers
from workflow_scripts.settings.base import proper_name, read_yaml
from workflow_scripts.settings.config import Config
from workflow_scripts.shards import atomic

ROOT = Path(__file__).parent.parent.parent
TEMPLATE = Path(__file__).parent / "template"


def write(name: str, folder: Path) -> list[Path]:
    """The files of the paper `name` in `folder/name`, which is made; they name the schemas of this project's docs."""
    home = folder / name
    if home.exists():
        raise UserError(f"{home}: is there already, and stays as it is; choose another name")
    home.mkdir(parents=True)
    schemas = os.path.relpath(ROOT / "docs" / "schema", home)
    files = [home / path.name for path in sorted(TEMPLATE.iterdir())]
    for file in files:
        text = (TEMPLATE / file.name).read_text(encoding="utf-8")
        with atomic(file) as temporary:
            temporary.write_text(text.replace("<name>", name).replace("<schemas>", schemas), encoding="utf-8")
    return files


def main(
    name: Annotated[str, typer.Argument(help="Name of the paper, and of its folder.")],
    *,
    folder: Annotated[
        Path | None, typer.Option(help="A folder of papers of your own; by default the first of `papers_path`.")
    ] = None,
) -> None:
    """Writes the files of a new paper; nothing that is there is overwritten."""
    try:
        proper_name(name)
    except ValueError as error:
        raise UserError(str(error)) from None
    own = Config.check(read_yaml(ROOT / "config.yaml"), "config.yaml").papers_path
    if folder is None and not own:
        raise UserError("config.yaml: papers_path names no folder: write `papers_path: [my_papers]`, or say --folder")
    folder = folder or own[0]
    if name in papers.names(ROOT / "papers"):
        raise UserError(f"there is a paper '{name}' in papers/; choose another name")
    for file in write(name, folder):
        print(file)
    option = "" if folder in own else f" --config 'papers_path=[\"{folder}\"]'"
    print(f"make its table by: snakemake --cores all results/mini/{name}/table1.csv{option}")


if __name__ == "__main__":
    run(lambda: typer.run(main))
