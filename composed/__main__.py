"""Composes a corpus: `python -m composed --composer dcase2018 --definition '{"seed": 1}' --output-dir FOLDER …`."""

from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts.errors import run
from workflow_scripts.settings.base import from_argument, pairs
from workflow_scripts.settings.plugins import COMPOSERS, plugin


def main(
    composer: Annotated[str, typer.Option(help="File in composed/composers that makes the corpus.")],
    definition: Annotated[str, typer.Option(help="The composer's settings as JSON, or @file.json.")],
    asset: Annotated[list[str], typer.Option(help="An asset file, id=path; repeated.")],
    output_dir: Annotated[Path, typer.Option(help="Where sources and annotations go.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes that compose at the same time.")] = 1,
) -> None:
    """Compose a corpus."""
    settings = plugin(COMPOSERS, composer, "--composer").check(from_argument(definition), "--definition")
    settings.compose({name: Path(path) for name, path in pairs(asset, "asset").items()}, output_dir, workers)


if __name__ == "__main__":
    run(lambda: typer.run(main))
