"""Scores the predictions of one experiment: `scores.parquet` for people, `counts.parquet` for the bootstrap."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.errors import UserError
from workflow_scripts.files import read_parquet
from workflow_scripts.progress import progress
from workflow_scripts.scores.plan import Score
from workflow_scripts.shards import Row, array_field, pack, read, write

SCORES = pa.schema([("seed", pa.int32()), ("split", pa.string()), ("metric", pa.string()), ("value", pa.float64())])


def read_predictions(paths: list[Path]) -> pa.Table:
    """The predictions of all files, which must agree in their columns and metadata; a clip has one row a seed."""
    tables = []
    for path in paths:
        tables.append(read_parquet(path))
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


def score(job: Score, scores_file: Path, counts_file: Path) -> None:
    """Scores every seed on every predicted split."""
    table = read_predictions(job.predictions).sort_by([(name, "ascending") for name in ("seed", "split", "clip_id")])
    predicted = set(table["clip_id"].to_pylist())
    rows = {row["clip_id"]: row for row in read(job.manifest) if row["clip_id"] in predicted}
    systems = table.group_by(["seed", "split"], use_threads=False).aggregate([]).to_pylist()
    scores: list[Row] = []
    records: list[Row] = []
    field: pa.Field | None = None
    for system in progress(systems, "scoring", unit="seed and split"):
        chosen = table.filter((pc.field("seed") == system["seed"]) & (pc.field("split") == system["split"]))
        clips = chosen["clip_id"].to_pylist()
        found: np.ndarray = job.settings.records(chosen, references_of(rows, clips, job.manifest), job.assets)
        field = field or array_field("record", str(found.dtype), found.shape[1:])
        records += [{**system, "clip_id": c, "record": pack(r, field)} for c, r in zip(clips, found, strict=True)]
        values = job.settings.aggregate(found, np.ones((1, len(clips))))
        scores += [{**system, "metric": name, "value": float(value[0])} for name, value in values.items()]
    if field is None:
        raise UserError(f"{job.predictions[0]}: holds no prediction")
    about: dict[str, Any] = {"family": job.family, "settings": job.settings.model_dump_json()}
    columns = [("seed", pa.int32()), ("split", pa.string()), ("clip_id", pa.string())]
    schema = pa.schema([*(pa.field(*column) for column in columns), field], metadata=about)
    write(counts_file, records, schema, rows_a_group=1 << 16)
    write(scores_file, scores, SCORES)
