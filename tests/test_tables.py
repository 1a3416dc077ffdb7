"""Tables, claims and joins from a small set of made scores."""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from table_files import PUBLISHED, TABLE, evidence, made, replicated, scored, write_experiments

from workflow_scripts.errors import UserError
from workflow_scripts.metrics import captions
from workflow_scripts.settings.base import read_yaml
from workflow_scripts.settings.claims import Claims, Comparison
from workflow_scripts.settings.tables import Score, Table
from workflow_scripts.shards import array_field, pack, write
from workflow_scripts.tables import claims, outcomes
from workflow_scripts.tables.cells import HEADER, Cell, read_published, write_cells
from workflow_scripts.tables.evidence import Evidence, Side
from workflow_scripts.tables.plan import CheckClaims, DrawTable, JoinPapers

PAPER = Path(__file__).parent.parent / "papers" / "boes_avsed"


def f1(hits: int, clips: int) -> float:
    return 2 * hits / (clips + hits)


@pytest.fixture
def experiments(tmp_path: Path) -> dict[str, Path]:
    return write_experiments(tmp_path)


def test_cells_of_a_table(tmp_path: Path, experiments: dict[str, Path]) -> None:
    lines = made(tmp_path, TABLE, experiments)
    assert list(lines[0]) == HEADER
    by_row = {line["row"]: line for line in lines}
    assert list(by_row) == ["one", "two", "three", "theirs", "forgotten"]
    one = by_row["one"]
    assert one["measured"] == f"{100 * f1(2, 4):.4f}"  # seed 1, best on validation, finds 2 of 4 test events
    assert float(one["ci_low"]) < float(one["measured"]) < float(one["ci_high"])
    expected = {"published": "76.22", "seeds": "2", "items": "4", "status": "measured", "scale": "mini", "unit": "%"}
    assert expected.items() <= one.items()
    assert "best 1 of 2 seeds by the column's own metric on validation" in one["note"]
    assert "95 % percentile bootstrap over seeds and clips, the selection repeated" in one["note"]
    assert (by_row["two"]["published"], by_row["two"]["measured"]) == ("", f"{100 * f1(1, 4):.4f}")
    assert by_row["three"]["status"] == "not_collected"
    assert (by_row["theirs"]["status"], by_row["theirs"]["published"]) == ("quoted", "50.0")
    forgotten = by_row["forgotten"]
    assert (forgotten["status"], forgotten["published"], forgotten["published_ci"]) == ("not_collected", "33.0", "0.5")
    assert "section 5" in forgotten["note"]


def unscored(path: Path, hits: Sequence[int]) -> Path:
    """Captions of one seed of which only ACC_temp and F1_temp were computed; SPICE is NaN, as without its programs."""
    said = ["a dog barks then rain falls" if hit else "a dog barks" for hit in hits]
    found = captions.records(said, [["a dog barks, then rain falls"]] * len(hits), ["acc_temp"])
    field = array_field("record", "float64", found.shape[1:])
    rows = [{"seed": 0, "split": "test", "clip_id": f"c{i}", "record": pack(r, field)} for i, r in enumerate(found)]
    columns = [("seed", pa.int32()), ("split", pa.string()), ("clip_id", pa.string())]
    schema = pa.schema([*(pa.field(*column) for column in columns), field])
    write(path, rows, schema.with_metadata({"family": "captioning", "settings": "{}"}))
    return replicated(path)


def test_a_metric_that_was_not_computed_is_unavailable(tmp_path: Path) -> None:
    """In the table, in its picture, and in claims on it; in a claim on another metric it changes nothing."""
    (tmp_path / "published.csv").write_text(
        "table,group,row,column,unit,value,ci,note\ntable3,Clotho,S,SPICE,x100,12.2,0.5,\n"
    )
    replicates = {"S": unscored(tmp_path / "S", [1, 1, 1, 0]), "A": unscored(tmp_path / "A", [0, 0, 0, 0])}
    units = {"unit": "x100"}
    sides = {"left": {"experiment": "S", "metric": "spice"}, "right": {"experiment": "A", "metric": "spice"}}
    table = {
        "title": "t",
        "rows": [{"label": n, "group": g, "experiment": n} for g in ("Clotho", "AudioCaps") for n in "SA"],
        "columns": [{"label": "SPICE", "metric": "spice"} | units, {"label": "ACC", "metric": "acc_temp"} | units],
        "cells": [{"kind": "difference", "row": "gain", "column": "SPICE", **sides}],
    }
    lines = {(line["group"], line["row"], line["column"]): line for line in made(tmp_path, table, replicates)}
    for place in (("Clotho", "S", "SPICE"), ("", "gain", "SPICE")):
        cell = lines[place]
        assert (cell["status"], cell["note"]) == ("unavailable", "the metric is not computed here")
        assert not any(cell[name] for name in ("measured", "ci_low", "ci_high", "seeds", "items"))
    assert (lines["Clotho", "S", "SPICE"]["published"], lines["Clotho", "S", "SPICE"]["published_ci"]) == (
        "12.2",
        "0.5",
    )
    assert lines["Clotho", "S", "ACC"]["measured"] == "75.0000"
    assert "| S | unavailable (12.2) | 75.00 " in (tmp_path / "table3.md").read_text()

    DrawTable(cells=tmp_path / "table3.csv", title="Table 3").run(tmp_path / "table3.svg")
    drawn = (tmp_path / "table3.svg").read_text()
    assert drawn.count("<!-- unavailable -->") == 5
    assert all(name in drawn for name in ("Clotho: S", "AudioCaps: S", "SPICE", "ACC"))

    def compared(column: str) -> dict[str, Any]:
        cells = [{"table": "table3", "group": "Clotho", "row": name, "column": column} for name in "SA"]
        return {"id": column, "text": "", "compare": {"left": cells[0], "right": cells[1], "relation": "greater"}}

    spice, acc = checked(tmp_path, [compared("SPICE"), compared("ACC")], table, replicates)
    assert (spice["verdict"], spice["measured"], spice["probability"]) == ("unavailable", "", "")
    assert spice["note"] == "the metric is not computed here"
    assert (acc["verdict"], acc["measured"]) == ("holds", "75.0000")


def checked(
    folder: Path, claims: list[dict[str, Any]], table: dict[str, Any], replicates: dict[str, Path], **fields: Any
) -> list[dict[str, str]]:
    """The lines of checked claims about a table."""
    CheckClaims(
        paper="paper", scale="mini", claims=Claims.check({"claims": claims}, "claims.yaml"),
        tables={"table3": Table.check(table, "tables.table3")}, published=folder / "published.csv",
        **evidence(replicates), **fields,
    ).run(folder / "claims.csv", folder / "claims.md")  # fmt: skip
    with (folder / "claims.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_same_scores_make_the_same_file(tmp_path: Path, experiments: dict[str, Path]) -> None:
    made(tmp_path, TABLE, experiments)
    first = (tmp_path / "table3.csv").read_bytes()
    made(tmp_path, TABLE, dict(reversed(experiments.items())))
    assert (tmp_path / "table3.csv").read_bytes() == first


def test_one_metric_can_rank_the_seeds_for_all_columns(tmp_path: Path, experiments: dict[str, Path]) -> None:
    """Ranked by the event score of the other split, which here means seed 0."""
    selection = {"best": 1, "of": 2, "by": "test", "ranking": "event_macro_f1"}
    lines = made(tmp_path, {**TABLE, "selection": selection}, experiments)
    assert lines[0]["measured"] == "100.0000"
    assert "by event_macro_f1 on test" in lines[0]["note"]


def test_fewer_seeds_than_planned_are_said(tmp_path: Path, experiments: dict[str, Path]) -> None:
    lines = made(tmp_path, {**TABLE, "selection": {"best": 5, "of": 20}}, experiments)
    assert "best 2 of 2 seeds" in lines[0]["note"]
    assert "planned: the best 5 of 20" in lines[0]["note"]
    assert lines[0]["measured"] == f"{100 * (1 + f1(2, 4)) / 2:.4f}"


def test_single_cells(tmp_path: Path, experiments: dict[str, Path]) -> None:
    sides = {
        "left": {"experiment": "S", "metric": "clip_micro_f1"},
        "right": {"experiment": "A", "metric": "clip_micro_f1"},
    }
    cells = [
        {"kind": "difference", "row": "gain", "column": "F1", **sides},
        {"kind": "statistic", "row": "test", "column": "clips", "values": "counts", "key": "test.ok"},
        {"kind": "statistic", "row": "train", "column": "clips", "values": "counts", "key": "train.ok"},
    ]
    (tmp_path / "counts.json").write_text('{"test": {"ok": 4}}')
    values = {"counts": tmp_path / "counts.json"}
    lines = made(tmp_path, {"title": "Numbers", "cells": cells}, experiments, values=values)
    gain, test, train = lines[:3]
    assert gain["measured"] == f"{100 * ((1 + f1(2, 4)) / 2 - f1(1, 4) / 2):.4f}"
    assert gain["unit"] == "points"
    assert "paired over clips" in gain["note"]
    assert (test["measured"], test["status"]) == ("4", "statistic")
    assert (train["measured"], train["status"]) == ("", "not_collected")


def test_cells_read_off_a_model(tmp_path: Path) -> None:
    """Section 4.2 and 2.2 of boes_avsed: "about 15 fps", 7 frames "about 0.5 seconds"."""
    experiment = {
        "features": {"visual": {"extractor": "vgg16", "settings": {"frames_per_clip": 151}}},
        "clip_seconds": 10,
        "scoring": {"median_filter": 7},
        "settings": {"frame_seconds": 4 * 366 / 22100},
    }
    definition = {"title": "Numbers", "analytic": [{"name": "timing", "experiment": "V"}]}
    header, _, _ = PUBLISHED.partition("\n")
    (tmp_path / "published.csv").write_text(header + "\ntable3,,median filter of 7 frames,length,s,0.5,,\n")
    rate, length = made(tmp_path, definition, {}, models={"V": experiment})
    assert (rate["measured"], rate["status"], rate["published"]) == ("15.1", "analytic", "")
    assert (length["measured"], length["published"], length["unit"]) == ("0.464", "0.5", "s")
    assert "0.464 (0.5)" in (tmp_path / "table3.md").read_text()


def test_markdown_is_the_table_as_printed(tmp_path: Path, experiments: dict[str, Path]) -> None:
    one = made(tmp_path, TABLE, experiments)[0]
    text = (tmp_path / "table3.md").read_text()
    measured, low, high = (float(one[name]) for name in ("measured", "ci_low", "ci_high"))
    assert f"| one | {measured:.2f} [{low:.2f}, {high:.2f}] (76.22) |" in text  # far from symmetric
    assert "| theirs | quoted (50.0) |" in text
    assert "scale `mini`" in text
    assert "on the data of the paper" in text
    assert "Rows rest on" not in text


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"columns": [{"label": "x", "metric": "clip_mikro_f1"}]},
            "no metric 'clip_mikro_f1'; did you mean 'clip_micro",
        ),
        ({"columns": [{"label": "x", "metric": "clip_micro_f1", "split": "tests"}]}, "no scores on 'tests'"),
        (
            {"columns": [{"label": "Clip F1", "metric": "clip_micro_f1", "unit": "x100"}]},
            "is measured in 'x100', printed",
        ),
        ({"rows": TABLE["rows"] + TABLE["rows"][:1]}, "'one' stands twice"),
        ({"rows": [{"label": "x"}]}, "needs either an experiment or a status"),
        ({"colums": []}, "unknown key 'colums'; did you mean 'columns'?"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, experiments: dict[str, Path], changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError) as error:
        made(tmp_path, {**TABLE, **changes}, experiments)
    assert sentence in str(error.value)


def test_a_doubled_published_cell_is_refused(tmp_path: Path) -> None:
    (tmp_path / "published.csv").write_text(PUBLISHED + "table3,,one,Clip F1,%,1,,\n")
    with pytest.raises(UserError, match="line 6: the cell one, Clip F1 stands twice"):
        read_published(tmp_path / "published.csv")


def test_join_keeps_every_line(tmp_path: Path, experiments: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    lines = made(tmp_path, TABLE, experiments)
    with caplog.at_level("INFO"):
        JoinPapers(tables=[tmp_path / "table3.csv"] * 2).run(tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as stream:
        assert list(csv.DictReader(stream)) == lines * 2
    assert f"{2 * len(lines)} lines in {tmp_path / 'all.csv'}" in caplog.text
    with pytest.raises(UserError, match="its columns are not those of"):
        JoinPapers(tables=[tmp_path / "table3.csv", tmp_path / "published.csv"]).run(tmp_path / "all.csv")


# Claims


@pytest.mark.parametrize(
    ("relation", "margin", "differences", "verdict"),
    [
        ("greater", 0, [1, 2, 3], "holds"),
        ("greater", 2.5, [1, 2, 3], "undecided"),
        ("greater", 5, [1, 2, 3], "does not hold"),
        ("less", 0, [1, 2, 3], "does not hold"),
        ("less", 0, [-1, -2], "holds"),
        ("less", 1.5, [-1, -2], "undecided"),
        ("close", 3, [-1, 2], "holds"),
        ("close", 1.5, [-1, 2], "undecided"),
        ("close", 1, [2, 3], "does not hold"),
    ],
)
def test_verdicts(relation: Any, margin: float, differences: list[float], verdict: str) -> None:
    cell = {"table": "t", "row": "r", "column": "c"}
    values = {"left": cell, "right": 0.0, "relation": relation, "margin": margin}
    given = outcomes.Number(float(np.mean(differences)), np.array(differences, float))

    class Given(outcomes.Checker):
        def __init__(self) -> None: ...

        def numbers(self, cells: Any) -> tuple[list[outcomes.Number], str, None]:
            return [given], "", None

    outcome = Given().comparison(Comparison.model_validate(values))
    assert outcome.verdict() == verdict
    assert 0 <= outcome.probability() <= 1


def test_claims_are_checked_in_pairs(tmp_path: Path) -> None:
    """B finds one event more than A whichever clips are drawn: certain, though each score alone is not."""
    right = np.random.default_rng(0).integers(0, 2, (1, 60))
    better = np.maximum(right, np.arange(60) % 3 == 0)
    paths = [scored(tmp_path / n, {"test": hits.tolist()}) for n, hits in (("A", right), ("B", better), ("C", right))]
    rows = [{"label": name, "experiment": name} for name in "ABCD"]
    table = {"title": "t", "rows": rows, "columns": TABLE["columns"]}
    (tmp_path / "published.csv").write_text(
        "table,group,row,column,unit,value,ci,note\ntable3,,A,Clip F1,%,76.22,,\ntable3,,B,Clip F1,%,81.03,,\n"
    )

    def cell(row: str) -> dict[str, str]:
        return {"table": "table3", "row": row, "column": "Clip F1"}

    checks = [("more", "B", cell("A"), "greater"), ("same", "C", cell("A"), "close"), ("zero", "A", 0.0, "greater"),
              ("none", "D", cell("A"), "less")]  # fmt: skip
    listed = [{"id": i, "text": "", "compare": {"left": cell(x), "right": y, "relation": r}} for i, x, y, r in checks]
    found = {line["claim"]: line for line in checked(tmp_path, listed, table, {path.stem: path for path in paths})}
    assert found["more"]["verdict"] == "holds"
    assert found["more"]["published"] == "4.81"
    assert float(found["more"]["ci_low"]) > 0
    assert found["same"]["verdict"] == "holds"
    assert found["same"]["ci_low"] == found["same"]["ci_high"] == "0.0000"
    assert found["zero"]["verdict"] == "holds"
    assert found["none"]["verdict"] == "not collected"


def test_seeds_of_two_experiments_are_drawn_independently(tmp_path: Path) -> None:
    """Clips are paired, but seed 0 of one experiment has nothing to do with seed 0 of another."""
    hits: dict[str, Sequence[Sequence[int]]] = {"test": [[1] * 8, [0] * 8, [1] * 4 + [0] * 4]}
    found = Evidence(**evidence({name: scored(tmp_path / name, hits) for name in "AB"}))
    a, b = (found.estimate(Side(Score(experiment=name, metric="clip_micro_f1"))) for name in "AB")
    assert a.minus(b).value == 0
    assert a.minus(b).replicates.std() > a.replicates.std()


# The paper's own numbers


def test_published_numbers_are_those_of_the_paper(shared: Path) -> None:
    published = read_published(PAPER / "published.csv")
    for n, count in ((1, 12), (2, 2), (3, 21)):
        with (shared / "papers" / "boes_avsed" / f"table{n}.csv").open(newline="") as stream:
            printed = [(line["row_label"], line["col_label"], line["value"]) for line in csv.DictReader(stream)]
        ours = [(place.row.replace(" + ", "+"), place.column, line["value"])
                for (table, place), line in published.items() if table == f"table{n}"]  # fmt: skip
        assert ours == printed
        assert len(ours) == count


def test_printed_gains_are_the_differences_of_printed_cells() -> None:
    published = read_published(PAPER / "published.csv")
    declared = Claims.check(read_yaml(PAPER / "claims.yaml"), "claims.yaml").claims
    assert len({claim.id for claim in declared}) == len(declared)
    printed = {claim.id: claim.published for claim in declared if claim.published is not None}
    assert list(printed.values()) == [4.81, 4.5, 7.5]
    for claim in declared:
        difference = float(claims.printed(claim.model_copy(update={"published": None}), published))
        assert difference == pytest.approx(printed.get(claim.id, difference))
        relation, margin = claim.compare.relation, claim.compare.margin
        true = {"greater": difference > margin, "less": difference < -margin, "close": abs(difference) <= margin}
        assert true[relation], f"{claim.id} does not hold in the paper's own table"


def test_definitions_without_rows_need_no_scores() -> None:
    table = Table.check({"title": "t", "analytic": [{"name": "x", "experiment": "S"}]}, "t")
    assert (table.experiments(), table.modelled()) == ([], ["S"])


def test_a_picture_of_quoted_rows_and_of_an_interval_beside_its_value(tmp_path: Path) -> None:
    blank = Cell(paper="p", table="table1", group="", row="", column="GAP", unit="%", scale="mini")
    cells = [
        replace(blank, row="ours", measured="39.7", ci_low="41.0", ci_high="48.4", status="measured"),
        replace(blank, row="theirs", published="52.6", status="quoted"),
        replace(blank, row="words", column="count", published="about 10", measured="12", status="statistic"),
    ]
    write_cells(tmp_path / "table1.csv", cells)
    DrawTable(cells=tmp_path / "table1.csv", title="Table 1").run(tmp_path / "table1.svg")
    drawn = (tmp_path / "table1.svg").read_text()
    assert "ours" in drawn and "theirs" in drawn and "words" not in drawn


def test_a_picture_of_many_columns_is_no_wider_than_a_screen(tmp_path: Path) -> None:
    blank = Cell(paper="p", table="table1", group="", row="ours", column="", unit="%", scale="mini")
    value = {"measured": "39.7", "ci_low": "38.0", "ci_high": "41.0", "status": "measured"}
    write_cells(tmp_path / "table1.csv", [replace(blank, column=f"metric {n}", **value) for n in range(12)])
    DrawTable(cells=tmp_path / "table1.csv", title="Table 1").run(tmp_path / "table1.svg")
    drawn = (tmp_path / "table1.svg").read_text()
    assert all(f"metric {n}" in drawn for n in range(12))
    assert float(re.search(r'width="([\d.]+)pt"', drawn)[1]) < 1200


def test_what_training_jobs_report_is_averaged_over_seeds(tmp_path: Path) -> None:
    for group, seconds in {"seeds-0-1": {"0": 3600.0, "1": 7200.0}, "seeds-2-2": {"2": 1800.0}}.items():
        (tmp_path / "S" / group).mkdir(parents=True)
        (tmp_path / "S" / group / "params.json").write_text(json.dumps({"train_seconds": seconds}))
    (tmp_path / "published.csv").write_text(PUBLISHED.partition("\n")[0] + "\n")
    cell = {"kind": "fact", "row": "S", "column": "time", "unit": "h", "experiment": "S", "key": "train_seconds"}
    definition = {"title": "Times", "cells": [cell, {**cell, "column": "odd", "key": "odd"}]}
    facts = {"S": sorted((tmp_path / "S").glob("*/params.json"))}
    time, odd = made(tmp_path, definition, {}, facts=facts)
    assert (time["measured"], time["seeds"], time["status"]) == ("1.1667", "3", "statistic")
    assert (odd["measured"], odd["status"], odd["note"]) == ("", "not_collected", "no 'odd' of experiment S")
