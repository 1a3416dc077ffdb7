"""What a run of the MLflow store shall hold, read from the files that the jobs wrote."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.errors import UserError
from workflow_scripts.files import read_benchmark, read_csv, read_json
from workflow_scripts.parquet import read_parquet
from workflow_scripts.tracking.names import clean, flatten, unique

LONGEST_CURVE = 200  # points; more only slow the plots down, and the file keeps them all
LONGEST_NOTE = 8000

Point = tuple[str, float, int]  # name, value, step


class Dataset(NamedTuple):
    """What a run learned from: a corpus, a hash of its manifest, and its clips by split."""

    name: str
    digest: str
    splits: dict[str, int]


class Place(NamedTuple):
    """A row of a table."""

    table: str
    group: str
    row: str


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
    run_name: str = ""  # as MLflow's lists show it; empty: its name
    above: str = ""  # the item whose run it is nested in
    seconds: float = 0  # that its job took
    source: str = ""  # what defines it
    dataset: Dataset | None = None
    later: list[Point] = field(default_factory=list)  # metrics that may come or change after the run was written
    known_by: tuple[str, ...] = ()  # what else its content follows from
    samples: Callable[[], dict[str, Any]] | None = None  # a table of some clips, `columns` and `data`
    course: Callable[[], list[Point]] = list  # whole curves, by which a run that was followed is known

    def content_key(self, experiment: str) -> str:
        """A hash of all that is logged: equal keys mean equal runs, whenever and wherever they were written."""
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.artifacts}
        content = [experiment, self.name, self.params, self.metrics, files, *self.known_by]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def written_at(self) -> int:
        """When the newest of its files was written, in milliseconds since 1970."""
        return max(path.stat().st_mtime_ns for path in self.sources) // 1_000_000


def training_items(
    experiment: str,
    folders: Sequence[Path],
    scores: Path | None,
    benchmarks: Mapping[Path, Path] | None = None,
    **common: Any,
) -> list[Item]:
    """One item a seed, from training folders (params.json, history.parquet) and scores.parquet.

    `benchmarks` are what Snakemake measured of the folders' jobs, where it did; `common` is the same for all seeds.
    """
    values = read_parquet(scores, ["seed", "split", "metric", "value"]) if scores else None
    items: dict[int, Item] = {}
    for folder in folders:
        params_file, history_file = folder / "params.json", folder / "history.parquet"
        params = run_params(read_json(params_file))
        history, seconds = read_parquet(history_file), job_seconds((benchmarks or {}).get(folder))
        for seed in sorted(pc.unique(history["seed"]).to_pylist()):
            if seed in items:
                raise UserError(f"{folder}: seed {seed} of experiment '{experiment}' stands in another folder too")
            items[seed] = Item(
                name=f"{experiment} seed {seed}",
                sources=[params_file, history_file, *([scores] if scores else [])],
                tags={"weights": str(folder / "weights.safetensors"), "seed": str(seed)},
                params={**params, "experiment": experiment, "seed": str(seed)},
                metrics=curves(history, seed) + (seed_scores(values, seed) if values is not None else []),
                seconds=seconds,
                course=partial(curves, history, seed, list),
                **common,
            )
    for seed in set(pc.unique(values["seed"]).to_pylist() if values is not None else []) - items.keys():
        raise UserError(f"{scores}: has scores of seed {seed} of experiment '{experiment}', which was not trained")
    return list(items.values())


def growing_items(experiment: str, histories: Mapping[int, Sequence[Path]]) -> list[Item]:
    """One item a seed that still learns, from what its histories, one or one a fold, hold so far."""
    items = []
    for seed, paths in histories.items():
        tables = [read_parquet(path) for path in paths]
        whole = [point for table in tables for point in curves(table, seed, list)]
        items.append(
            Item(
                name=f"{experiment} seed {seed}",
                sources=paths,
                tags={"seed": str(seed)},
                params={"experiment": experiment, "seed": str(seed)},
                metrics=[point for table in tables for point in curves(table, seed, thin_steadily)],
                course=partial(list, whole),
            )
        )
    return items


def job_seconds(benchmark: Path | None) -> float:
    """What a job took, by the file in which Snakemake measured it; 0 where there is none."""
    runs = read_benchmark(benchmark) if benchmark is not None and benchmark.exists() else []
    return runs[-1]["s"] if runs else 0


def dataset_of(corpus: str, manifest: Path) -> Dataset:
    """A corpus as MLflow knows data sets."""
    splits = Counter(read_parquet(manifest, ["split"])["split"].to_pylist())
    return Dataset(corpus, hashlib.sha256(manifest.read_bytes()).hexdigest()[:32], dict(sorted(splits.items())))


def run_params(params: dict[str, Any]) -> dict[str, str]:
    """params.json on one level, the definition's keys without prefix; `seeds` goes, since each run is one of them."""
    definition = flatten(params.get("definition", {}))
    others = flatten({key: value for key, value in params.items() if key not in {"definition", "seeds"}})
    return {**{f"definition.{key}" if key in others else key: value for key, value in definition.items()}, **others}


def thin(curve: list[T], most: int = LONGEST_CURVE) -> list[T]:
    """At most `most` points, evenly chosen, the first and the last among them."""
    if len(curve) <= most:
        return curve
    return [curve[i] for i in np.linspace(0, len(curve) - 1, most).round().astype(int)]


def thin_steadily(curve: list[T], most: int = LONGEST_CURVE) -> list[T]:
    """Of a curve that grows the first `most` points, then half as many each time that it doubles.

    A point that is chosen stays so: `most` and 100 points for each doubling, 760 of 10,000.
    """
    return [point for place, point in enumerate(curve) if place % (1 << (place // most).bit_length()) == 0]


def curves(
    history: pa.Table, seed: int, choose: Callable[[list[tuple[int, float]]], list[tuple[int, float]]] = thin
) -> list[Point]:
    """Every numeric column of one seed's history as a curve over steps, of its points the chosen ones.

    Gaps and infinities are left out.
    """
    rows = history.filter(pc.equal(history["seed"], seed)).sort_by("step")
    steps = rows["step"].to_pylist()
    points: list[Point] = []
    for column in rows.schema:
        numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        if column.name in {"seed", "step"} or not numeric:
            continue
        values = zip(steps, rows[column.name].to_pylist(), strict=True)
        curve = [(step, float(value)) for step, value in values if value is not None and math.isfinite(value)]
        points += [(clean(column.name), value, step) for step, value in choose(curve)]
    return points


def seed_scores(scores: pa.Table, seed: int) -> list[Point]:
    """The scores of one seed, named `split/metric`."""
    rows = scores.filter(pc.equal(scores["seed"], seed)).to_pylist()
    rows = [row for row in rows if row["value"] is not None and math.isfinite(row["value"])]
    names = unique(f"{row['split']}/{row['metric']}" for row in rows)
    return [(name, float(row["value"]), 0) for name, row in zip(names, rows, strict=True)]


def row_item(
    name: str, label: str, seeds: Sequence[Item], tables: Sequence[Path], places: Sequence[Place], **more: Any
) -> Item:
    """The run above the seeds of an experiment, named as the row of a table that it is: its cells `table/column`.

    `places` are the rows in which an experiment stands. A cell's interval and published value are metrics beneath it
    (`table3/F1/ci_low`, `/ci_high`, `/published`). What is known of its tables grows while they are made.
    """
    metrics: list[Point] = []
    for path in tables:
        rows = [row for _, row in read_csv(path, ["row", "column", "measured"])]
        own = [row for row in rows if Place(path.stem, row.get("group") or "", row["row"]) in places]
        cells = unique("/".join(part for part in (path.stem, row.get("group"), row["column"]) if part) for row in own)
        for cell, row in zip(cells, own, strict=True):
            names = {"measured": cell, **{column: f"{cell}/{column}" for column in ("ci_low", "ci_high", "published")}}
            values = ((names[column], number(row.get(column) or "")) for column in names)
            metrics += [(found, value, 0) for found, value in values if value is not None]
    return Item(
        name=name,
        run_name=f"{label} ({name})",
        sources=[path for item in seeds for path in item.sources],
        params={"experiment": name, "seeds": ", ".join(item.params["seed"] for item in seeds)},
        seconds=sum(item.seconds for item in seeds[:1]),
        later=metrics,
        known_by=tuple(item.content_key("") for item in seeds),
        **more,
    )


def file_item(path: Path) -> Item:
    """The run of a file of results, a table or the ledger: the file and those beside it (Markdown, LaTeX, pictures)."""
    beside = [own for suffix in (".md", ".tex", ".png") if (own := path.with_suffix(suffix)).exists()]
    page = path.with_suffix(".md")
    note = page.read_text(encoding="utf-8") if page in beside else ""
    artifacts = [path, *beside]
    return Item(path.stem, sources=artifacts, artifacts=artifacts, note=note if len(note) <= LONGEST_NOTE else "")


def figures_item(pictures: Sequence[Path]) -> Item:
    """The run of a paper's figures."""
    return Item("figures", sources=pictures, artifacts=pictures)


def number(text: str) -> float | None:
    """The finite number that a cell of a csv holds, if it holds one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
