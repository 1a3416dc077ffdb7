"""Intervals: they hold what they are of, and are printed as they are."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from workflow_scripts.scores.families.multilabel import Scorer
from workflow_scripts.scores.plan import Score
from workflow_scripts.settings.tables import Table
from workflow_scripts.shards import Row, pack, write
from workflow_scripts.tables.cells import Cell
from workflow_scripts.tables.markdown import render
from workflow_scripts.tables.plan import MakeTable
from workflow_scripts.training.outputs import ranking_schema

METRICS = "gap", "map", "map_positive_classes", "hit_at_1", "perr"
FILES = "scores", "counts", "replicates"


def job(folder: Path, clips: int, classes: int, seeds: int = 3, replicates: int = 400) -> Score:
    """Lists of the 20 likeliest classes of videos with one to three labels each, most of which are rare."""
    random, schema = np.random.default_rng(0), ranking_schema([str(n) for n in range(classes)], 20)
    share = 1 / np.arange(1, classes + 1)
    labels = [random.choice(classes, size, False, share / share.sum()) for size in random.integers(1, 4, clips)]
    types = [("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string()))]
    rows: list[Row] = [
        {"clip_id": f"v{n}", "split": "test", "labels": [str(label) for label in own]} for n, own in enumerate(labels)
    ]
    write(folder / "manifest.parquet", rows, pa.schema(types))
    predicted: list[Row] = []
    for seed in range(seeds):
        for n, own in enumerate(labels):
            scores = random.random(classes)
            scores[own] += random.random(len(own))
            best = np.argsort(-scores)[:20]
            lists = {
                "classes": pack(best, schema.field("classes")),
                "scores": pack(scores[best], schema.field("scores")),
            }
            predicted.append({"seed": seed, "clip_id": f"v{n}", "split": "test", "seconds": 1.0, **lists})
    write(folder / "predictions.parquet", predicted, schema)
    return Score(
        family="multilabel", settings=Scorer(), manifest=folder / "manifest.parquet",
        predictions=[folder / "predictions.parquet"], replicates=replicates,
    )  # fmt: skip


def test_every_measured_value_lies_within_its_interval(tmp_path: Path) -> None:
    """In a table of all metrics of videos whose classes have few positives, of which many replicates draw none."""
    scoring = job(tmp_path, clips=150, classes=300)
    scoring.run(*(tmp_path / f"{name}.parquet" for name in FILES))
    (tmp_path / "published.csv").write_text("table,group,row,column,unit,value,ci,note\n")
    columns = [{"label": name, "metric": name} for name in METRICS]
    table = {"title": "t", "rows": [{"label": "moe", "experiment": "moe"}], "columns": columns}
    MakeTable(
        paper="p", name="table5", scale="mini", table=Table.check(table, "t"), published=tmp_path / "published.csv",
        replicates={"moe": tmp_path / "replicates.parquet"}, counts={"moe": tmp_path / "counts.parquet"},
        manifests={"moe": scoring.manifest},
    ).run(tmp_path / "table5.csv", tmp_path / "table5.md", tmp_path / "table5.tex")  # fmt: skip
    with (tmp_path / "table5.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["column"] for line in lines] == list(METRICS)
    outside = [line for line in lines if not float(line["ci_low"]) <= float(line["measured"]) <= float(line["ci_high"])]
    assert outside == []


def test_a_replicate_averages_over_the_classes_of_the_estimate() -> None:
    """Two clips and classes: the first is found at once, the other second, 1 and 1/2; where the first clip is drawn
    twice, the other class is as good as in the sample, neither left out nor 0."""
    scorer, schema = Scorer(top_k=2, max_labels=2), ranking_schema(["0", "1", "2"], 2)
    lists = {"classes": np.array([[0, 1], [0, 1]], np.int32), "scores": np.array([[0.9, 0.2], [0.5, 0.1]], np.float32)}
    arrays = {name: [pack(row, schema.field(name)) for row in values] for name, values in lists.items()}
    predictions = pa.table(arrays, schema=pa.schema([schema.field(n) for n in lists], metadata=schema.metadata))
    records = scorer.records(predictions, [{"clip_id": str(n), "labels": [str(n)]} for n in range(2)])
    found = scorer.replicate([(records, np.arange(2))], np.array([[1, 2], [1, 0]], np.uint8))
    assert found["map_positive_classes"].tolist() == pytest.approx([3 / 4, 3 / 4])
    assert found["map"].tolist() == pytest.approx([1 / 2, 1 / 2])


BLANK = Cell(paper="p", table="t", group="", row="", column="F1", unit="%", scale="mini", status="measured")


def printed(cells: Sequence[Cell]) -> str:
    return render("T", cells)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        ("8.0000", "12.0000", "10.00 ± 2.00 (9.00)"),
        ("7.6000", "11.4000", "10.00 [7.60, 11.40] (9.00)"),  # the middle is 0.5 off, the half-width 1.9
        ("7.6000", "11.6000", "10.00 ± 2.00 (9.00)"),
        ("11.0000", "12.0000", "10.00 [11.00, 12.00] (9.00)"),
        ("10.0000", "10.0000", "10.00 ± 0.00 (9.00)"),
    ],
)
def test_a_lopsided_interval_is_printed_by_its_ends(low: str, high: str, text: str) -> None:
    cell = replace(BLANK, row="one", measured="10.0000", ci_low=low, ci_high=high, published="9.00")
    page = printed([cell])
    assert f"| one | {text} |" in page
    assert ("or [low, high] of one that is not symmetric" in page) == ("[" in text)
