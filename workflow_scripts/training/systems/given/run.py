"""Reads predictions that somebody made elsewhere, and gives each seed's out as its own."""

import csv
import json
import logging
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from workflow_scripts.corpora.labels import SINGLE
from workflow_scripts.errors import UserError
from workflow_scripts.files import csv_columns, need, read_csv
from workflow_scripts.parquet import read_parquet
from workflow_scripts.shards import Row, array_field, pack, read
from workflow_scripts.training import fitting
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.outputs import CLIP, caption_schema
from workflow_scripts.training.systems.given.settings import System

log = logging.getLogger(__name__)

LEAST = 1e-12  # a probability of 0 has the logarithm of this one
DIALECTS = {".csv": csv.excel, ".tsv": csv.excel_tab}
LEADING = {field.name for field in CLIP}


class Data:
    """The predictions of all seeds, and the splits of the corpus's clips."""

    def __init__(self, system: System, job: TrainingJob) -> None:
        self.file = system.file
        self.splits = {row["clip_id"]: row["split"] for row in read(job.manifest, ["clip_id", "split"])}
        self.schema, rows = from_parquet(system) if system.file.suffix == ".parquet" else from_text(system)
        self.seeds: dict[int, dict[str, Row]] = {}
        for row in rows:
            clip, own = row["clip_id"], self.seeds.setdefault(row.pop("seed", 0), {})
            if clip not in self.splits:
                raise UserError(f"{self.file}: the corpus has no clip '{clip}'; see its manifest, {job.manifest}")
            if clip in own:
                raise UserError(f"{self.file}: the clip '{clip}' is predicted twice; give it one row a seed")
            own[clip] = row


class GivenFit(fitting.Fit):
    """The predictions of one seed."""

    def __init__(self, system: System, job: TrainingJob, data: Data, seed: int) -> None:
        self.seed, self.schema, self.history = seed, data.schema, []
        if seed not in data.seeds:
            found = ", ".join(map(str, sorted(data.seeds))) or "none"
            raise UserError(f"{data.file}: has no seed {seed} (found: {found}); set the experiment's `seeds` to match")
        wanted = {clip for clip, split in data.splits.items() if split in system.predict_splits}
        self.rows = [
            {**row, "split": data.splits[clip]} for clip, row in sorted(data.seeds[seed].items()) if clip in wanted
        ]
        if not self.rows:
            raise UserError(f"{data.file}: predicts no clip of {', '.join(system.predict_splits)} with seed {seed}")
        self.missing = len(wanted) - len(self.rows)
        if self.missing:
            log.info("%s: %d of %d clips are not predicted, and not scored", data.file, self.missing, len(wanted))

    def predict(self) -> Iterator[Row]:
        yield from self.rows

    def facts(self) -> dict[str, Any]:
        return {"clips": len(self.rows), "missing": self.missing}


class Fitting(fitting.Fitting):
    """The seeds of a job."""

    open = Data
    start = GivenFit


def from_parquet(system: System) -> tuple[pa.Schema, Iterator[Row]]:
    """Predictions in the form of a run's own: all columns but those that every form begins with are kept."""
    found = read_parquet(system.file)
    need(system.file, ["clip_id"], found.column_names)
    kept = [field for field in found.schema if field.name not in LEADING]
    if not kept:
        raise UserError(f"{system.file}: has no column of predictions beside {', '.join(found.column_names)}")
    names = [name for name in found.column_names if name != "split"]
    return pa.schema([*CLIP, *kept], metadata=found.schema.metadata), iter(found.select(names).to_pylist())


def from_text(system: System) -> tuple[pa.Schema, Iterator[Row]]:
    """Captions, or a number for each class: the schema of the predictions, and their rows."""
    dialect: dict[str, Any] = {"dialect": DIALECTS[system.file.suffix]}
    columns = csv_columns(system.file, **dialect)
    classes = [name for name in columns if name not in LEADING]
    captions = "caption" in columns
    if not captions and len(classes) < 2:
        raise UserError(f"{system.file}: has neither a column 'caption' nor a column for each class")
    lines = read_csv(system.file, ["clip_id"], exact=True, kept={"caption"}, ids={"clip_id"}, **dialect)
    schema = caption_schema() if captions else class_schema(classes)
    return schema, (row_of(line, values, system, schema, [] if captions else classes) for line, values in lines)


def class_schema(classes: list[str]) -> pa.Schema:
    """Logits as both families read them that know one class a clip: `logits`, and those of the only head."""
    fields = [array_field(name, "float32", [len(classes)]) for name in ("logits", f"logits_{SINGLE}")]
    return pa.schema(
        [*CLIP, *fields], metadata={"classes": json.dumps(classes), "heads": json.dumps({SINGLE: classes})}
    )


def row_of(line: int, values: dict[str, str], system: System, schema: pa.Schema, classes: list[str]) -> Row:
    """One line of CSV or TSV; without `classes` a caption."""
    where = f"{system.file}, line {line}"
    seed = values.get("seed", "0")
    if not seed.isdecimal():
        raise UserError(f"{where}: the seed is '{seed}', and should be a whole number from 0 on")
    row: Row = {"clip_id": values["clip_id"], "seed": int(seed)}
    if not classes:
        return {**row, "caption": values["caption"].strip().lower()}
    numbers = np.array([number(values[name], name, where) for name in classes])
    if system.numbers == "probabilities":
        if numbers.min() < 0 or numbers.max() > 1:
            raise UserError(f"{where}: probabilities lie between 0 and 1; of logits, leave out `numbers`")
        numbers = np.log(np.maximum(numbers, LEAST))
    packed = {name: pack(numbers.astype(np.float32), schema.field(name)) for name in schema.names if "logits" in name}
    return {**row, **packed}


def number(text: str, column: str, where: str) -> float:
    """A finite number; anything else is a `UserError`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: '{column}' is '{text}', and should be a number")
    return value
