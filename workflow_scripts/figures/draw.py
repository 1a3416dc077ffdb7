"""Draws one figure of a paper, and writes the numbers that it shows.

    python -m workflow_scripts.figures.draw --kind confusion --definition '{"split": "test"}' --title "Figure 2" \\
        --predictions predictions.parquet --manifest manifest.parquet \\
        --output figure2.png --output figure2.svg --data figure2.csv
"""

from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.figures.material import Material
from workflow_scripts.figures.style import save
from workflow_scripts.settings.base import from_argument, pairs, read_json
from workflow_scripts.settings.plugins import FIGURES, plugin
from workflow_scripts.shards import atomic

FORMATS = (".png", ".svg")


def streams(options: list[str]) -> dict[str, list[Path]]:
    """`name=folder` options to the shards in each folder, or the one shard that is named."""
    found: dict[str, list[Path]] = {}
    for option in options:
        name, sign, place = option.partition("=")
        if not (name and sign and place):
            raise UserError(f"--features '{option}': expected name=folder")
        path = Path(place)
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not files:
            raise UserError(f"--features '{option}': no Parquet file there; make the features first")
        found.setdefault(name, []).extend(files)
    return found


def files_by_label(options: list[str]) -> dict[str, list[Path]]:
    """`label=file` options as the files of each label, in the labels' order."""
    found: dict[str, list[Path]] = {}
    for option in options:
        label, sign, path = option.partition("=")
        if not (label and sign and path):
            raise UserError(f"--shown '{option}': expected label=predictions.parquet")
        found.setdefault(label, []).append(Path(path))
    return found


def main(
    kind: Annotated[str, typer.Option(help="kind of figure: a file of figures/kinds")],
    definition: Annotated[str, typer.Option(help="settings of the kind, JSON or @file.json")],
    title: Annotated[str, typer.Option(help="stands above the figure")],
    output: Annotated[list[Path], typer.Option(help="the figure, .png or .svg; repeated")],
    data: Annotated[Path, typer.Option(help="gets the numbers that are drawn, as CSV")],
    seed: Annotated[int, typer.Option(help="the seed whose model is shown")] = 0,
    history: Annotated[list[Path] | None, typer.Option(help="history.parquet of a training job, repeated")] = None,
    predictions: Annotated[list[Path] | None, typer.Option(help="predictions.parquet of one, repeated")] = None,
    manifest: Annotated[Path | None, typer.Option(help="the corpus's manifest, which holds the true classes")] = None,
    features: Annotated[list[str] | None, typer.Option(help="name=folder of shards, or name=shard; repeated")] = None,
    weights: Annotated[list[Path] | None, typer.Option(help="weights.safetensors of one, repeated")] = None,
    scores: Annotated[list[str] | None, typer.Option(help="label=folder with counts.parquet, repeated")] = None,
    shown: Annotated[list[str] | None, typer.Option(help="label=predictions.parquet, repeated")] = None,
    values: Annotated[Path | None, typer.Option(help="JSON file of a reduction")] = None,
    note: Annotated[str, typer.Option(help="stands below the title")] = "",
) -> None:
    """Draws one figure."""
    chosen = plugin(FIGURES, kind, "--kind").check(from_argument(definition), "--definition")
    for path in output:
        if path.suffix not in FORMATS:
            raise UserError(f"--output {path}: its name must end in {' or '.join(FORMATS)}")
    material = Material(
        seed,
        history or [],
        predictions or [],
        manifest,
        streams(features or []),
        {label: Path(folder) for label, folder in pairs(scores, "scores").items()},
        weights or [],
        read_json(values) if values else {},
        files_by_label(shown or []),
    )
    numbers = chosen.data(material)
    with atomic(data) as temporary:
        numbers.to_csv(temporary, index=False, float_format="%.7g", lineterminator="\n")
    save(lambda: chosen.draw(numbers), title, note, output)


if __name__ == "__main__":
    run(lambda: typer.run(main))
