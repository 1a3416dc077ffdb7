"""Scores of invented experiments, and the table that is made of them."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.scores.counts import Counted
from workflow_scripts.scores.families.sed import HEAD
from workflow_scripts.scores.replicates import Resample, write_replicates
from workflow_scripts.settings.tables import Table
from workflow_scripts.shards import array_field, pack, write
from workflow_scripts.tables.plan import MakeTable

TABLE: dict[str, Any] = {
    "title": "Scores",
    "rows": [
        {"label": "one", "experiment": "S"},
        {"label": "two", "experiment": "A"},
        {"label": "three", "experiment": "missing"},
        {"label": "theirs", "status": "quoted", "note": "from [7]"},
    ],
    "columns": [{"label": "Clip F1", "metric": "clip_micro_f1"}],
    "selection": {"best": 1, "of": 2},
}
PUBLISHED = """table,group,row,column,unit,value,ci,note
table3,,one,Clip F1,%,76.22,,
table3,,theirs,Clip F1,%,50.0,,
table3,,forgotten,Clip F1,%,33.0,0.5,section 5
table1,,one,Clip F1,%,1,,another table
"""


def scored(path: Path, right: dict[str, Sequence[Sequence[int]]]) -> Path:
    """The replicates of an experiment with one class: for each split, seed and clip whether the event was found."""
    field = array_field("record", "float64", (HEAD + 9,))
    head = [1, *[0] * (HEAD - 1)]  # one class, no frames
    rows = [
        {
            "seed": seed,
            "split": split,
            "clip_id": f"c{i}",
            "record": pack(np.array([*head, *[hit, 0, 1 - hit] * 3], float), field),
        }
        for split, seeds in right.items()
        for seed, clips in enumerate(seeds)
        for i, hit in enumerate(clips)
    ]
    columns = [pa.field("seed", pa.int32()), pa.field("split", pa.string()), pa.field("clip_id", pa.string()), field]
    write(path, rows, pa.schema(columns, metadata={"family": "sed", "settings": "{}"}))
    return replicated(path)


def replicated(counts: Path) -> Path:
    """The replicates of counted clips, which are all that their splits have."""
    table = pq.read_table(counts, columns=["split", "clip_id"]).to_pandas().groupby("split")["clip_id"]
    drawn = {split: Resample(split, set(clips), 1000) for split, clips in table}
    path = counts.with_suffix(".replicates")
    write_replicates(Counted.open(counts), drawn, path)
    return path


def evidence(replicates: dict[str, Path]) -> dict[str, dict[str, Path]]:
    """Made scores as tables are given them: with what was counted, and the manifest of the one corpus of all."""
    if not replicates:
        return {}
    counts = {name: path.with_suffix("") for name, path in replicates.items()}
    clips = pa.concat_tables(pq.read_table(path, columns=["clip_id", "split"]) for path in counts.values())
    manifest = next(iter(counts.values())).with_suffix(".manifest")
    pq.write_table(clips.replace_schema_metadata(None).group_by(["clip_id", "split"]).aggregate([]), manifest)
    return {"replicates": replicates, "counts": counts, "manifests": dict.fromkeys(counts, manifest)}


def write_experiments(folder: Path) -> dict[str, Path]:
    """S: seed 1 is best on validation, seed 0 on test; A: both seeds find nothing, but for one clip of seed 0."""
    s = scored(folder / "S", {"validation": [[1, 0, 0, 0], [1, 1, 1, 0]], "test": [[1, 1, 1, 1], [1, 1, 0, 0]]})
    a = scored(folder / "A", {"validation": [[1, 0, 0, 0], [0, 0, 0, 0]], "test": [[1, 0, 0, 0], [0, 0, 0, 0]]})
    (folder / "published.csv").write_text(PUBLISHED)
    return {"S": s, "A": a}


def made(folder: Path, table: dict[str, Any], replicates: dict[str, Path], **fields: Any) -> list[dict[str, str]]:
    """The lines of a made table."""
    MakeTable(
        paper="paper", name="table3", scale="mini", table=Table.check(table, "tables.table3"),
        published=folder / "published.csv", **evidence(replicates), **fields,
    ).run(folder / "table3.csv", folder / "table3.md", folder / "table3.tex")  # fmt: skip
    with (folder / "table3.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))
