"""Scores the predictions of one experiment: `scores.parquet` for people, `counts.parquet` for the bootstrap.

    python -m workflow_scripts.scores.score --metrics sed --definition '{}' --manifest manifest.parquet \\
        --predictions predictions.parquet --output-dir scores/
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer

from workflow_scripts.assets.paths import needed, parse
from workflow_scripts.errors import UserError, run
from workflow_scripts.progress import progress
from workflow_scripts.scores.interface import MetricFamily
from workflow_scripts.settings.base import from_argument
from workflow_scripts.settings.plugins import FAMILIES, plugin
from workflow_scripts.shards import Row, array_field, pack, read, write

SCORES = pa.schema([("seed", pa.int32()), ("split", pa.string()), ("metric", pa.string()), ("value", pa.float64())])


def read_predictions(paths: list[Path]) -> pa.Table:
    """The predictions of all files, which must agree in their columns and metadata; a clip has one row a seed."""
    tables = []
    for path in paths:
        try:
            tables.append(pq.read_table(path))
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(f"{path}: not a readable Parquet file ({error})") from None
        if not tables[-1].schema.equals(tables[0].schema, check_metadata=True):
            raise UserError(f"{path}: other classes, frames or columns than in {paths[0]}; score them apart")
    table = pa.concat_tables(tables)
    counts = table.group_by(["seed", "split", "clip_id"]).aggregate([([], "count_all")])
    twice = counts.filter(pc.field("count_all") > 1).to_pylist()
    if twice:
        raise UserError(f"{paths[-1]}: clip {twice[0]['clip_id']} is predicted twice by seed {twice[0]['seed']}")
    return table


def references_of(manifest: dict[str, Row], clips: list[str], path: Path) -> list[Row]:
    """The manifest's rows of the clips, in their order."""
    unknown = next((clip for clip in clips if clip not in manifest), None)
    if unknown is not None:
        raise UserError(f"{path}: has no clip {unknown}, which the predictions name")
    return [manifest[clip] for clip in clips]


def main(
    metrics: Annotated[str, typer.Option(help="family of metrics: a file of scores/families")],
    definition: Annotated[str, typer.Option(help="settings of the family, JSON or @file.json")],
    manifest: Annotated[Path, typer.Option(help="the corpus's manifest, which holds the references")],
    predictions: Annotated[list[Path], typer.Option(help="predictions.parquet, once for each group of seeds")],
    output_dir: Annotated[Path, typer.Option(help="gets scores.parquet and counts.parquet")],
    asset: Annotated[list[str] | None, typer.Option(help="file that the family needs, id=path; repeated")] = None,
) -> None:
    """Scores every seed on every predicted split."""
    settings = from_argument(definition)
    scorer: MetricFamily = plugin(FAMILIES, metrics, "--metrics").check(settings, "--definition")
    files = needed(parse(asset or []), scorer.assets, f"the metrics '{metrics}'")
    order = [(name, "ascending") for name in ("seed", "split", "clip_id")]
    table = read_predictions(predictions).sort_by(order)
    predicted = set(table["clip_id"].to_pylist())
    rows = {row["clip_id"]: row for row in read(manifest) if row["clip_id"] in predicted}
    systems = table.group_by(["seed", "split"], use_threads=False).aggregate([]).to_pylist()

    scores: list[Row] = []
    records: list[Row] = []
    field: pa.Field | None = None
    for system in progress(systems, "scoring", unit="seed and split"):
        chosen = table.filter((pc.field("seed") == system["seed"]) & (pc.field("split") == system["split"]))
        clips = chosen["clip_id"].to_pylist()
        found = scorer.records(chosen, references_of(rows, clips, manifest), files)
        field = field or array_field("record", str(found.dtype), found.shape[1:])
        records += [{**system, "clip_id": c, "record": pack(r, field)} for c, r in zip(clips, found, strict=True)]
        values = scorer.aggregate(found, np.ones((1, len(clips))))
        scores += [{**system, "metric": name, "value": float(value[0])} for name, value in values.items()]
    if field is None:
        raise UserError(f"{predictions[0]}: holds no prediction")

    about: dict[str, Any] = {"family": metrics, "definition": json.dumps(settings)}
    columns = [("seed", pa.int32()), ("split", pa.string()), ("clip_id", pa.string())]
    schema = pa.schema([*(pa.field(*column) for column in columns), field], metadata=about)
    write(output_dir / "counts.parquet", records, schema, rows_a_group=1 << 16)
    write(output_dir / "scores.parquet", scores, SCORES)


if __name__ == "__main__":
    run(lambda: typer.run(main))
