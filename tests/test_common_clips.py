"""Rows of one table rest on the clips that all have, or the table says that they do not; pairs on those of both."""

import csv
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from workflow_scripts.scores.families.classification import Scorer
from workflow_scripts.scores.plan import Score
from workflow_scripts.settings.claims import Claims
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.settings.tables import Table
from workflow_scripts.shards import Row, pack, write
from workflow_scripts.tables.plan import CheckClaims, DrawTable, MakeTable, check_claims, make_table
from workflow_scripts.training.outputs import logit_schema

ROOT = Path(__file__).parent.parent
FILES = "scores", "counts", "replicates"
COLUMNS = [{"label": "accuracy", "metric": "accuracy", "unit": "%"}]
ROWS = {"title": "t", "rows": [{"label": "one", "experiment": "A"}, {"label": "two", "experiment": "B"}]}
TABLE: dict[str, Any] = {**ROWS, "columns": COLUMNS}
SIDES = {side: {"experiment": name, "metric": "accuracy"} for side, name in (("left", "A"), ("right", "B"))}
GAIN = {"kind": "difference", "row": "gain", "column": "accuracy", **SIDES}


def manifest(folder: Path, clips: int = 60, name: str = "manifest") -> Path:
    rows: list[Row] = [
        {"clip_id": f"{split}{n:02}", "split": split, "labels": [str(n % 2)]}
        for split in ("test", "validation")
        for n in range(clips)
    ]
    types = [("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string()))]
    write(folder / f"{name}.parquet", rows, pa.schema(types))
    return folder / f"{name}.parquet"


def scored(folder: Path, corpus: Path, test: Iterable[int], model: int, seeds: int = 2) -> dict[str, Path]:
    """The scores of a model on some test clips and on all of validation; what it says of a clip is always the same."""
    schema = logit_schema(["0", "1"])
    logits = schema.field("logits")
    clips = [("test", n) for n in test] + [("validation", n) for n in range(60)]
    rows = [
        {
            "seed": seed, "clip_id": f"{split}{n:02}", "split": split, "seconds": 1.0,
            "logits": pack(np.random.default_rng([model, seed, n]).normal([n % 2 == 0, n % 2], 1), logits),
        }
        for seed in range(seeds)
        for split, n in clips
    ]  # fmt: skip
    folder.mkdir(parents=True)
    write(folder / "predictions.parquet", rows, schema)
    job = Score(
        family="classification", settings=Scorer(), manifest=corpus, predictions=[folder / "predictions.parquet"],
        replicates=200,
    )  # fmt: skip
    job.run(*(folder / f"{name}.parquet" for name in FILES))
    files = {name: folder / f"{name}.parquet" for name in FILES}
    return {"replicates": files["replicates"], "counts": files["counts"], "manifests": corpus}


def given(found: dict[str, dict[str, Path]]) -> dict[str, dict[str, Path]]:
    kinds = "replicates", "counts", "manifests"
    return {kind: {name: files[kind] for name, files in found.items()} for kind in kinds}


def made(folder: Path, table: dict[str, Any], found: dict[str, dict[str, Path]], **fields: Any) -> dict[str, Any]:
    """The lines of a made table by row."""
    printed = folder / "published.csv"
    printed.write_text("table,group,row,column,unit,value,ci,note\n")
    MakeTable(
        paper="p", name="table1", scale="mini", table=Table.check(table, "t"), published=printed, **given(found),
        **fields,
    ).run(folder / "table1.csv", folder / "table1.md", folder / "table1.tex")  # fmt: skip
    with (folder / "table1.csv").open(newline="") as stream:
        return {line["row"]: line for line in csv.DictReader(stream)}


def claimed(folder: Path, table: dict[str, Any], found: dict[str, dict[str, Path]], **fields: Any) -> dict[str, str]:
    """The line of the claim that A is better than B."""
    left, right = ({"table": "table1", "row": row, "column": "accuracy"} for row in ("one", "two"))
    claims = {"claims": [{"id": "c", "text": "", "compare": {"left": left, "right": right, "relation": "greater"}}]}
    CheckClaims(
        paper="p", scale="mini", claims=Claims.check(claims, "c"), tables={"table1": Table.check(table, "t")},
        published=folder / "published.csv", **given(found), **fields,
    ).run(folder / "claims.csv", folder / "claims.md")  # fmt: skip
    with (folder / "claims.csv").open(newline="") as stream:
        (line,) = csv.DictReader(stream)
    return line


@pytest.fixture
def different(tmp_path: Path) -> dict[str, dict[str, Path]]:
    """Two models on 40 of 60 clips each, 20 of which both have."""
    corpus = manifest(tmp_path)
    return {"A": scored(tmp_path / "A", corpus, range(40), 1), "B": scored(tmp_path / "B", corpus, range(20, 60), 2)}


@pytest.fixture
def common(tmp_path: Path) -> dict[str, dict[str, Path]]:
    """The same models scored on the 20 clips only that both have."""
    corpus = manifest(tmp_path)
    return {name: scored(tmp_path / "c" / name, corpus, range(20, 40), n) for n, name in ((1, "A"), (2, "B"))}


def test_equally_many_but_other_clips_are_told(tmp_path: Path, different: dict[str, Any]) -> None:
    """In every cell, in the table as printed and in its picture."""
    lines = made(tmp_path, TABLE, different)
    assert {line["items"] for line in lines.values()} == {"40"}
    for line in lines.values():
        assert line["note"].endswith("; rows rest on different clips, 20 of which all have")
    sentence = "Rows rest on different clips, 20 of which all have: one 40, two 40."
    assert sentence in (tmp_path / "table1.md").read_text()
    DrawTable(cells=tmp_path / "table1.csv", title="Table 1").run(tmp_path / "table1.svg")
    assert sentence in " ".join(re.findall(r"<!-- (.*?) -->", (tmp_path / "table1.svg").read_text()))


def test_a_difference_rests_on_the_clips_of_both(
    tmp_path: Path, different: dict[str, Any], common: dict[str, Any]
) -> None:
    """It is that of the scores on the common clips, in a table and in a claim, and says how many they are."""
    table = {**TABLE, "cells": [GAIN]}
    gain, true = made(tmp_path, table, different)["gain"], made(tmp_path, table, common)["gain"]
    numbers = ("measured", "ci_low", "ci_high", "items")
    assert [gain[name] for name in numbers] == [true[name] for name in numbers]
    assert gain["items"] == "20"
    assert "difference paired over the 20 clips that both have, of 40 and 40" in gain["note"]
    assert true["note"].endswith("difference paired over clips")
    claim, expected = claimed(tmp_path, TABLE, different), claimed(tmp_path, TABLE, common)
    numbers = ("measured", "ci_low", "ci_high", "probability", "verdict")
    assert [claim[name] for name in numbers] == [expected[name] for name in numbers]
    assert claim["note"].endswith("differences paired over the 20 clips that both have, of 40 and 40")


def test_a_table_can_be_scored_on_the_common_clips(
    tmp_path: Path, different: dict[str, Any], common: dict[str, Any]
) -> None:
    """Its cells, intervals and verdicts are then those of models that had no other clips."""
    table = {**TABLE, "cells": [GAIN], "selection": {"best": 1, "of": 2}}
    lines, true = made(tmp_path, table, different, common_clips=True), made(tmp_path / "c", table, common)
    for row in ("one", "two", "gain"):
        for name in ("measured", "ci_low", "ci_high", "items", "seeds"):
            assert lines[row][name] == true[row][name]
    assert lines["one"]["note"].endswith("; on the 20 of its 40 clips that all rows have")
    assert lines["gain"]["note"].endswith("; difference paired over the 20 clips that all rows have")
    text = (tmp_path / "table1.md").read_text()
    assert "Scored only on the clips that all rows have." in text and "Rows rest on" not in text
    claim = claimed(tmp_path, table, different, common_clips=True)
    assert claim["measured"] == claimed(tmp_path, table, common)["measured"] == lines["gain"]["measured"]


def test_a_third_row_narrows_a_table_and_no_pair(tmp_path: Path, different: dict[str, Any]) -> None:
    different["C"] = scored(tmp_path / "C", tmp_path / "manifest.parquet", range(35, 60), 3)
    table = {**TABLE, "rows": [*TABLE["rows"], {"label": "three", "experiment": "C"}], "cells": [GAIN]}
    assert {row: line["items"] for row, line in made(tmp_path, table, different).items()} == {
        "one": "40", "two": "40", "three": "25", "gain": "20"
    }  # fmt: skip
    assert "5 of which all have: one 40, two 40, three 25, gain 20." in (tmp_path / "table1.md").read_text()
    narrowed = made(tmp_path, table, different, common_clips=True)
    assert {line["items"] for line in narrowed.values()} == {"5"}


def test_nothing_moves_where_all_rows_have_the_same_clips(tmp_path: Path, common: dict[str, Any]) -> None:
    table = {**TABLE, "cells": [GAIN]}
    files = [tmp_path / name for name in ("table1.csv", "table1.md", "claims.csv")]
    written = []
    for common_clips in (False, True):
        made(tmp_path, table, common, common_clips=common_clips)
        claimed(tmp_path, table, common, common_clips=common_clips)
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]
    assert b"that all" not in b"".join(written[0]) and b"different" not in b"".join(written[0])


def test_without_a_common_clip_there_is_no_number(tmp_path: Path) -> None:
    corpus = manifest(tmp_path)
    found = {"A": scored(tmp_path / "A", corpus, range(10), 1), "B": scored(tmp_path / "B", corpus, range(10, 20), 2)}
    lines = made(tmp_path, {**TABLE, "cells": [GAIN]}, found)
    assert (lines["one"]["status"], lines["gain"]["status"]) == ("measured", "unavailable")
    assert lines["gain"]["note"] == "there is no clip that all have which are compared"
    assert claimed(tmp_path, TABLE, found)["verdict"] == "unavailable"
    assert {line["status"] for line in made(tmp_path, TABLE, found, common_clips=True).values()} == {"unavailable"}


def test_other_corpora_are_neither_paired_nor_narrowed(tmp_path: Path) -> None:
    corpora = manifest(tmp_path), manifest(tmp_path, name="other")
    found = {name: scored(tmp_path / name, corpus, range(40), 1) for name, corpus in zip("AB", corpora, strict=True)}
    lines = made(tmp_path, {**TABLE, "cells": [GAIN]}, found, common_clips=True)
    assert "difference between 40 and 40 clips of different corpora or splits, not paired" in lines["gain"]["note"]
    assert "clips that" not in lines["one"]["note"] and "Rows rest on" not in (tmp_path / "table1.md").read_text()


def test_a_replicate_without_any_of_few_common_clips_leaves_an_interval(tmp_path: Path) -> None:
    """Of 60 clips both models have one, which a third of the replicates do not draw."""
    corpus = manifest(tmp_path)
    found = {"A": scored(tmp_path / "A", corpus, range(31), 1), "B": scored(tmp_path / "B", corpus, range(30, 60), 2)}
    gain = made(tmp_path, {**TABLE, "cells": [GAIN]}, found)["gain"]
    assert gain["items"] == "1"
    assert float(gain["ci_low"]) <= float(gain["measured"]) <= float(gain["ci_high"])
    assert 0 <= float(claimed(tmp_path, TABLE, found)["probability"]) <= 1


def test_the_choice_reaches_tables_and_claims() -> None:
    for chosen in (False, True):
        scale = Scale(ROOT, Config(common_clips=chosen), "mini")
        job, claims = make_table(scale, "yt8m_text", "table6"), check_claims(scale, "yt8m_text")
        assert job.common_clips is claims.common_clips is chosen
        assert job.counts.keys() == job.manifests.keys() == job.replicates.keys()
        assert len(set(job.manifests.values())) == 1
