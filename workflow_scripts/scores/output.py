"""Where the scores of a command go."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from workflow_scripts.shards import atomic

Output = Annotated[Path | None, typer.Option(help="also writes the scores to this JSON file")]


def show(scores: Mapping[str, Any], output: Path | None) -> None:
    """Prints scores as JSON, and writes them to a file if there is one."""
    text = json.dumps(scores, indent=2)
    if output is not None:
        with atomic(output) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    typer.echo(text)
