"""What a run of the MLflow store shall hold, read from the files that the jobs wrote."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.errors import UserError
from workflow_scripts.files import read_csv, read_json
from workflow_scripts.parquet import read_parquet
from workflow_scripts.tracking.names import clean, flatten, short, unique

LONGEST_CURVE = 200  # points; more only slow the plots down, and the file keeps them all
LONGEST_NOTE = 8000

Point = tuple[str, float, int]  # name, value, step
T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """One run to be: `name` says what it is of (`SAV seed 3`, `table3`) and stands once in its MLflow experiment."""

    name: str
    sources: Sequence[Path]  # the files it was read from
    tags: dict[str, str] = field(default_factory=dict)  # not part of the content
    params: dict[str, str] = field(default_factory=dict)
    metrics: list[Point] = field(default_factory=list)
    artifacts: Sequence[Path] = ()
    note: str = ""  # Markdown, shown on the run's page

    def content_key(self, experiment: str) -> str:
        """A hash of all that is logged: equal keys mean equal runs, whenever and wherever they were written."""
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.artifacts}
        content = [experiment, self.name, self.params, self.metrics, files]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def written_at(self) -> int:
        """When the newest of its files was written, in milliseconds since 1970."""
        return max(path.stat().st_mtime_ns for path in self.sources) // 1_000_000


def training_items(experiment: str, folders: Sequence[Path], scores: Path | None) -> list[Item]:
    """One item a seed, from training folders (params.json, history.parquet) and scores.parquet."""
    values = read_parquet(scores, ["seed", "split", "metric", "value"]) if scores else None
    items: dict[int, Item] = {}
    for folder in folders:
        params_file, history_file = folder / "params.json", folder / "history.parquet"
        params = run_params(read_json(params_file))
        history = read_parquet(history_file)
        for seed in sorted(pc.unique(history["seed"]).to_pylist()):
            if seed in items:
                raise UserError(f"{folder}: seed {seed} of experiment '{experiment}' stands in another folder too")
            items[seed] = Item(
                name=f"{experiment} seed {seed}",
                sources=[params_file, history_file, *([scores] if scores else [])],
                tags={"weights": str(folder / "weights.safetensors"), "seed": str(seed)},
                params={**params, "experiment": experiment, "seed": str(seed)},
                metrics=curves(history, seed) + (seed_scores(values, seed) if values is not None else []),
            )
    for seed in set(pc.unique(values["seed"]).to_pylist() if values is not None else []) - items.keys():
        raise UserError(f"{scores}: has scores of seed {seed} of experiment '{experiment}', which was not trained")
    return list(items.values())


def run_params(params: dict[str, Any]) -> dict[str, str]:
    """params.json on one level, the definition's keys without prefix; `seeds` goes, since each run is one of them."""
    definition = flatten(params.get("definition", {}))
    others = flatten({key: value for key, value in params.items() if key not in {"definition", "seeds"}})
    return {**{f"definition.{key}" if key in others else key: value for key, value in definition.items()}, **others}


def curves(history: pa.Table, seed: int) -> list[Point]:
    """Every numeric column of one seed's history as a curve over steps; gaps and infinities are left out."""
    rows = history.filter(pc.equal(history["seed"], seed)).sort_by("step")
    steps = rows["step"].to_pylist()
    points: list[Point] = []
    for column in rows.schema:
        numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        if column.name in {"seed", "step"} or not numeric:
            continue
        values = zip(steps, rows[column.name].to_pylist(), strict=True)
        curve = [(step, float(value)) for step, value in values if value is not None and math.isfinite(value)]
        points += [(clean(column.name), value, step) for step, value in thin(curve)]
    return points


def thin(curve: list[T], most: int = LONGEST_CURVE) -> list[T]:
    """At most `most` points, evenly chosen, the first and the last among them."""
    if len(curve) <= most:
        return curve
    return [curve[i] for i in np.linspace(0, len(curve) - 1, most).round().astype(int)]


def seed_scores(scores: pa.Table, seed: int) -> list[Point]:
    """The scores of one seed, named `split/metric`."""
    rows = scores.filter(pc.equal(scores["seed"], seed)).to_pylist()
    rows = [row for row in rows if row["value"] is not None and math.isfinite(row["value"])]
    names = unique(f"{row['split']}/{row['metric']}" for row in rows)
    return [(name, float(row["value"]), 0) for name, row in zip(names, rows, strict=True)]


def table_item(path: Path) -> Item:
    """A table's item: the csv (and the md beside it) as artifacts, its cells as metrics `row/column`.

    A cell's published value and interval are metrics beneath it (`row/column/published`, `/ci_low`, `/ci_high`); a
    cell that is text (a kernel size) is a parameter.
    """
    rows = [row for _, row in read_csv(path, ["row", "column", "measured"])]
    labels = unique("/".join(part for part in (row.get("group"), row["row"], row["column"]) if part) for row in rows)
    params, metrics = {}, []
    for label, row in zip(labels, rows, strict=True):
        for column in ("measured", "published", "ci_low", "ci_high"):
            value = number(row.get(column) or "")
            if value is not None:
                metrics.append((label if column == "measured" else f"{label}/{column}", value, 0))
            elif column == "measured" and row["measured"]:
                params[label] = short(row["measured"])
    page = path.with_suffix(".md")
    pages = [page] if page.exists() else []
    note = page.read_text(encoding="utf-8") if pages else ""
    return Item(
        name=path.stem,
        sources=[path, *pages],
        params=params,
        metrics=metrics,
        artifacts=[path, *pages],
        note=note if len(note) <= LONGEST_NOTE else "",
    )


def coverage_item(path: Path, paper: str) -> Item:
    """The ledger's counts as metrics `corpus/split/count`: each numeric column, named by the text columns before it.

    Where the ledger has a column `paper`, only the lines of this paper are taken.
    """
    rows = [row for _, row in read_csv(path) if row.pop("paper", paper) == paper]
    columns = list(rows[0]) if rows else []
    numeric = [c for c in columns if all(not row[c] or number(row[c]) is not None for row in rows)]
    labels = columns[: columns.index(numeric[0])] if numeric else []
    counts = [("/".join([*(row[c] for c in labels), c]), number(row[c])) for row in rows for c in numeric]
    kept = [(name, value) for name, value in counts if value is not None]
    names = unique(name for name, _ in kept)
    metrics = [(name, value, 0) for name, (_, value) in zip(names, kept, strict=True)]
    return Item(name="coverage", sources=[path], metrics=metrics, artifacts=[path])


def number(text: str) -> float | None:
    """The finite number that a cell of a csv holds, if it holds one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
