"""Claims about several cells at once, and Holm's correction over the claims of a paper."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests
from table_files import evidence, scored
from test_tables import unscored

from workflow_scripts.errors import UserError
from workflow_scripts.scores.families.multilabel import Scorer
from workflow_scripts.settings.claims import Claims
from workflow_scripts.settings.tables import Table
from workflow_scripts.tables.plan import CheckClaims

PUBLISHED = "table,group,row,column,unit,value,ci,note\n" + "".join(
    f"table3,,{row},Clip F1,%,{value},,\n" for row, value in zip("ABCD", (90.5, 80.25, 70, 60), strict=True)
)
UNIFORM = np.random.default_rng(3).random((3, 80))


def found(share: float) -> list[list[int]]:
    """Of three seeds the clips whose event is found; with a greater share the same ones and others."""
    return (share > UNIFORM).astype(int).tolist()


def cell(row: str) -> dict[str, str]:
    return {"table": "table3", "row": row, "column": "Clip F1"}


def checked(
    folder: Path, shares: dict[str, float], listed: list[dict[str, Any]], values: dict[str, Any] | None = None
) -> dict[str, dict[str, str]]:
    """The lines of claims, by id, about experiments that find these shares of events."""
    (folder / "published.csv").write_text(PUBLISHED)
    (folder / "counts.json").write_text(json.dumps(values or {}))
    paths = {name: scored(folder / name, {"test": found(share)}) for name, share in shares.items()}
    table = {
        "title": "t",
        "rows": [{"label": name, "experiment": name} for name in shares],
        "columns": [{"label": "Clip F1", "metric": "clip_micro_f1"}],
        "cells": [
            {"kind": "statistic", "row": "words", "column": "share", "unit": "%", "values": "counts", "key": "w"}
        ],
    }
    CheckClaims(
        paper="paper", scale="mini", claims=Claims.check({"claims": [{"text": "", **one} for one in listed]}, "claims"),
        tables={"table3": Table.check(table, "t")}, published=folder / "published.csv", **evidence(paths),
        values={"counts": folder / "counts.json"},
    ).run(folder / "claims.csv", folder / "claims.md")  # fmt: skip
    with (folder / "claims.csv").open(newline="") as stream:
        return {line["claim"]: line for line in csv.DictReader(stream)}


OTHERS = [cell(row) for row in "BCD"]
BEATS_BEST = {"left": cell("A"), "right": {"highest_of": OTHERS}, "relation": "greater"}


@pytest.mark.parametrize("winner", "BCD")
def test_the_best_of_several_is_whichever_is_the_best(tmp_path: Path, winner: str) -> None:
    """A is above two of the others and below the third, whose name nobody wrote down."""
    shares = {"A": 0.6, **dict.fromkeys("BCD", 0.2), winner: 0.95}
    claims = [
        {"id": "best", "compare": BEATS_BEST},
        {"id": "worst", "compare": {"left": cell("A"), "right": {"lowest_of": OTHERS}, "relation": "greater"}},
        {"id": "first", "rank": {"cell": cell("A"), "others": OTHERS}},
        {"id": "second", "rank": {"cell": cell("A"), "others": OTHERS, "at_most": 2}},
        {"id": "last but one", "rank": {"cell": cell("A"), "others": OTHERS, "at_most": 1, "first": "lowest"}},
    ]
    lines = checked(tmp_path, shares, claims)
    verdicts = {name: line["verdict"] for name, line in lines.items()}
    assert verdicts == {
        "best": "does not hold",
        "worst": "holds",
        "first": "does not hold",
        "second": "holds",
        "last but one": "does not hold",
    }
    assert (lines["first"]["measured"], lines["first"]["ci_low"], lines["first"]["ci_high"]) == (
        "2",
        "2.0000",
        "2.0000",
    )
    assert lines["best"]["published"] == "10.25" and lines["first"]["published"] == "1"
    assert "paired over clips" in lines["best"]["note"]


def test_a_claim_on_the_best_of_several_that_are_alike_is_undecided(tmp_path: Path) -> None:
    lines = checked(tmp_path, {"A": 0.52, "B": 0.5, "C": 0.5, "D": 0.5}, [{"id": "best", "compare": BEATS_BEST}])
    assert lines["best"]["verdict"] == "undecided"
    assert float(lines["best"]["p_value"]) > 0.05


def test_comparisons_that_are_true_are_counted(tmp_path: Path) -> None:
    comparisons = [{"left": cell("A"), "right": other, "relation": "greater"} for other in OTHERS]
    claims = [
        {"id": str(n), "count": {"comparisons": comparisons, "at_least": n}} for n in (1, 2, 3)
    ]  # above two, below the third
    lines = checked(tmp_path, {"A": 0.6, "B": 0.2, "C": 0.95, "D": 0.2}, claims)
    assert [line["verdict"] for line in lines.values()] == ["holds", "holds", "does not hold"]
    assert {line["measured"] for line in lines.values()} == {"2"}
    assert {line["published"] for line in lines.values()} == {"3"}


def test_what_is_not_computed_confirms_nothing_and_refutes_nothing(tmp_path: Path) -> None:
    """Of two metrics one is computed, by which A is better than B."""
    (tmp_path / "published.csv").write_text(PUBLISHED)
    paths = {"A": unscored(tmp_path / "A", [1] * 20), "B": unscored(tmp_path / "B", [0] * 20)}
    columns = [{"label": "ACC", "metric": "acc_temp"}, {"label": "SPICE", "metric": "spice"}]
    table = {"title": "t", "rows": [{"label": n, "experiment": n} for n in "AB"], "columns": columns}

    def count(better: str, worse: str, at_least: int) -> dict[str, Any]:
        comparisons = [
            {
                "left": {"table": "table3", "row": better, "column": column},
                "right": {"table": "table3", "row": worse, "column": column},
                "relation": "greater",
            }
            for column in ("ACC", "SPICE")
        ]
        return {"text": "", "id": f"{better}{at_least}", "count": {"comparisons": comparisons, "at_least": at_least}}

    listed = [count("A", "B", 1), count("A", "B", 2), count("B", "A", 1), count("B", "A", 2)]
    CheckClaims(
        paper="paper", scale="mini", claims=Claims.check({"claims": listed}, "claims"),
        tables={"table3": Table.check(table, "t")}, published=tmp_path / "published.csv", **evidence(paths),
    ).run(tmp_path / "claims.csv", tmp_path / "claims.md")  # fmt: skip
    with (tmp_path / "claims.csv").open(newline="") as stream:
        verdicts = {line["claim"]: line["verdict"] for line in csv.DictReader(stream)}
    assert verdicts == {"A1": "holds", "A2": "unavailable", "B1": "undecided", "B2": "does not hold"}


def test_a_share_of_all_data_is_checked_without_an_interval(tmp_path: Path) -> None:
    share = {"table": "table3", "row": "words", "column": "share"}
    claims = [
        {"id": f"{value:g}", "compare": {"left": share, "right": value, "relation": "close", "margin": 5.0}}
        for value in (66.7, 80.0)
    ]
    lines = checked(tmp_path, {"A": 0.5}, claims, {"w": 0.64})
    assert [line["verdict"] for line in lines.values()] == ["holds", "does not hold"]
    assert lines["66.7"]["measured"] == "-2.7000"
    assert not any(line[name] for line in lines.values() for name in ("ci_low", "p_value", "p_holm"))
    assert [line["verdict_holm"] for line in lines.values()] == ["holds", "does not hold"]


def test_holm_adjusts_over_all_claims(tmp_path: Path) -> None:
    """One small effect holds alone and not beside many claims that are tested with it."""
    small = {"id": "small", "compare": {"left": cell("A"), "right": cell("B"), "relation": "greater"}}
    large = {"id": "large", "compare": {"left": cell("A"), "right": cell("D"), "relation": "greater"}}
    zero = [
        {"id": f"none {n}", "compare": {"left": cell("B"), "right": cell("C"), "relation": "greater"}}
        for n in range(40)
    ]
    shares = {"A": 0.62, "B": 0.5, "C": 0.5, "D": 0.1}
    alone = checked(tmp_path, shares, [small, large])
    lines = checked(tmp_path, shares, [small, large, *zero])
    assert alone["small"]["verdict_holm"] == alone["small"]["verdict"] == "holds"
    assert lines["small"]["verdict"] == "holds" and lines["small"]["verdict_holm"] == "undecided"
    assert lines["large"]["verdict_holm"] == "holds"
    values = [float(line["p_value"]) for line in lines.values()]
    adjusted = [float(line["p_holm"]) for line in lines.values()]
    assert adjusted == pytest.approx(multipletests(values, method="holm")[1], rel=0.01)
    text = (tmp_path / "claims.md").read_text()
    assert f"2 of {len(lines)} claims hold, 1 of them also after Holm's correction for {len(lines)} tests" in text
    assert "| verdict | p | p (Holm) | verdict (Holm) |" in text


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        ({}, "needs one of compare, rank and count"),
        ({"compare": BEATS_BEST, "rank": {"cell": cell("A"), "others": OTHERS}}, "needs one of compare"),
        ({"rank": {"cell": cell("A"), "others": OTHERS, "at_most": 4}}, "any of 4 cells is among the first 4"),
        ({"count": {"comparisons": [BEATS_BEST] * 2, "at_least": 3}}, "there are only 2 comparisons"),
    ],
)  # fmt: skip
def test_claims_that_check_nothing_are_refused(claim: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Claims.check({"claims": [{"id": "x", "text": "", **claim}]}, "claims.yaml")


def test_head_and_tail_of_the_long_tail() -> None:
    """Three clips and classes, the first of which is the head: it is found at once, the second later, the third not."""
    scorer = Scorer(top_k=2, max_labels=2, head=1)
    records = np.full((3, 2 + 2 * 2 + 2), -1, np.float32)
    records[:, 0], records[:, 1] = 3, 0
    lists = [([0, 2], [0.9, 0.1]), ([0, 1], [0.8, 0.7]), ([0, 1], [0.6, 0.75])]
    for record, (classes, scores), label in zip(records, lists, (0, 1, 2), strict=True):
        record[2:4], record[4:6], record[6] = classes, scores, label
    scores = scorer.replicate([(records, np.arange(3))], np.ones((3, 1)))
    assert scores["map_head"] == pytest.approx(1)
    assert scores["map_tail"] == pytest.approx((1 / 2 + 0) / 2)
    assert scores["map_fall"] == pytest.approx(3 / 4)
    assert np.isnan(
        Scorer(top_k=2, max_labels=2, head=3).replicate([(records, np.arange(3))], np.ones((3, 1)))["map_tail"]
    )
