"""Computes one file from all shards of a feature: statistics, a lexicon, …"""

from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts.assets.paths import needed, parse
from workflow_scripts.errors import run
from workflow_scripts.features.interface import FeatureReducer
from workflow_scripts.settings.base import from_argument
from workflow_scripts.settings.plugins import REDUCERS, plugin


def main(
    *,
    reducer: Annotated[str, typer.Option(help="Name of a file in workflow_scripts/features/reducers.")],
    features: Annotated[list[Path], typer.Option(help="A shard of the feature; repeated.")],
    manifest: Annotated[Path, typer.Option(help="The corpus's manifest.")],
    output: Annotated[Path, typer.Option(help="The file to write.")],
    definition: Annotated[str, typer.Option(help="The reducer's settings: JSON or @file.json.")] = "{}",
    asset: Annotated[list[str] | None, typer.Option(help="id=path of a file that the reducer needs.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads for computing.")] = 1,
) -> None:
    """Reduces the shards of a feature to one file."""
    import threadpoolctl

    settings: FeatureReducer = plugin(REDUCERS, reducer, "--reducer").check(from_argument(definition), "--definition")
    assets = needed(parse(asset or []), settings.assets, f"reducer '{reducer}'")
    with threadpoolctl.threadpool_limits(threads):
        settings.reduce(features, manifest, assets, output)


if __name__ == "__main__":
    run(lambda: typer.run(main))
