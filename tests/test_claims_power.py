"""What claims could show, in words: in claims.csv, in claims.md and in a run's last lines."""

import csv
from pathlib import Path
from typing import Any

import pytest
from projects import copied, smoke
from test_claims import OTHERS, cell, checked

from workflow_scripts.settings.claims import CellAt, Comparison
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.tables.closing import FEW, closing
from workflow_scripts.tables.resolution import power

ROOT = Path(__file__).parent.parent
CELL = CellAt(table="t", row="r", column="c")
A_OVER_B = {"left": cell("A"), "right": cell("B"), "relation": "greater"}


@pytest.mark.parametrize(
    ("relation", "margin", "unit", "printed", "words"),
    [
        ("greater", 0.0, "%", 1.1, "±10 points; the paper's gain is 1.1, measured is 0.4"),
        ("greater", 0.5, "x100", 1.1, "±10 points; the paper's gain is 1.1, of which more than 0.5 is claimed, "
         "measured is 0.4"),
        ("less", 0.0, "nats", 0.25, "±10 nats; the paper's loss is 0.25, measured is 0.4"),
        ("greater", 0.0, "", None, "±10; the paper prints none, measured is 0.4"),
        ("close", 2.0, "MOS", None, "±10 MOS; within 2 is claimed, measured is 0.4"),
    ],
)  # fmt: skip
def test_power_in_words(relation: str, margin: float, unit: str, printed: float | None, words: str) -> None:
    comparison = Comparison(left=CELL, right=CELL, relation=relation, margin=margin)
    assert power(comparison, -9.7, 10.3, 0.4, unit, printed) == words


def test_every_claim_carries_its_power(tmp_path: Path) -> None:
    """Whatever its verdict; the half-width is that of `smallest_difference`, and printed are 90.5, 80.25, 70 and 60."""
    comparisons = [{"left": cell("A"), "right": other, "relation": "greater"} for other in OTHERS]
    claims: list[dict[str, Any]] = [
        {"id": "open", "compare": A_OVER_B},
        {"id": "sure", "compare": A_OVER_B | {"right": cell("C")}},
        {"id": "wrong", "compare": A_OVER_B | {"right": cell("D"), "relation": "less"}},
        {"id": "first", "rank": {"cell": cell("A"), "others": OTHERS}},
        {"id": "all", "count": {"comparisons": comparisons, "at_least": 3}},
        {"id": "share", "compare": {"left": {"table": "table3", "row": "words", "column": "share"}, "right": 9.5,
                                    "relation": "close", "margin": 1.0}},
    ]  # fmt: skip
    lines = checked(tmp_path, {"A": 0.52, "B": 0.5, "C": 0.1, "D": 0.1}, claims, {"w": 0.1})
    half = float(lines["open"]["smallest_difference"])
    verdicts = {name: line["verdict"] for name, line in lines.items()}
    assert verdicts == {
        "open": "undecided",
        "sure": "holds",
        "wrong": "does not hold",
        "first": "undecided",
        "all": "undecided",
        "share": "holds",
    }
    words = {name: line["power"] for name, line in lines.items()}
    assert words["open"].startswith(f"±{float(f'{half:.2g}'):g} points; the paper's gain is 10, measured is ")
    assert "points; the paper's gain is 20, measured is" in words["sure"]
    assert "points; the paper's loss is -30, measured is -" in words["wrong"]
    assert "points; the paper's lead is 10, measured is" in words["first"]
    assert words["all"] == "2 to 3 of 3 are true in 95 % of the resamples"
    assert words["share"] == "counted in all data: no interval"
    markdown = (tmp_path / "claims.md").read_text()
    assert f"| undecided: {words['open']} |" in markdown and f"| holds: {words['sure']} |" in markdown


def write_claims(path: Path, number: int) -> None:
    """A file of so many claims of the verdicts in turn."""
    verdicts = [("undecided", "±10 points; the paper's gain is 1.1"), ("holds", "±2 points"), ("unavailable", "")]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["paper", "claim", "verdict", "power"])
        writer.writerows(["yt8m_text", f"c{n}", *verdicts[n % 3]] for n in range(number))


def test_the_last_lines_tell_claims_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scale = Scale(ROOT, Config.check({"papers": ["yt8m_text"]}, "config"), "mini")
    write_claims(Path("results/table3_claims.csv"), 3)
    Path("results/table3.csv").touch()
    Path("results/mini/yt8m_text").mkdir(parents=True)
    for name in ("table2.md", "figure2.png"):
        Path("results/mini/yt8m_text", name).touch()
    told = closing(scale, ["results/table3.csv", "results/table4.csv", "results/mini/yt8m_text/table2.md", "work/x"])
    assert told == [
        "results/table3.csv: table3 of yt8m_text at the scale mini; as printed: results/mini/<paper>/table3.md",
        "results/table3_claims.csv: 3 claims: 1 undecided, 1 holds, 1 unavailable",
        "  yt8m_text, c0: undecided: ±10 points; the paper's gain is 1.1",
        "  yt8m_text, c1: holds: ±2 points",
        "  yt8m_text, c2: unavailable",
        "also made: results/mini/yt8m_text/table2.md",
    ]
    write_claims(Path("results/mini/claims.csv"), FEW + 1)
    told = closing(scale, ["results/table3.csv", "results/mini/claims.csv"])
    assert told[1:] == [
        "results/mini/claims.csv: 13 claims: 5 undecided, 4 hold, 4 unavailable; why, in its column 'power'"
    ]


def test_a_run_says_what_it_made(tmp_path: Path) -> None:
    """A paper all of whose numbers are quoted needs no data; what was not asked for is not told."""
    project = copied(tmp_path)
    folder = project / "papers" / "board"
    folder.mkdir()
    rows = "rows: [{label: A, status: quoted}]\n    columns: [{label: GAP, metric: gap}]"
    (folder / "paper.yaml").write_text(
        "title: T\ncitation: C\nurl: https://example.org\ncorpora: {}\nexperiments: {}\ntables:\n"
        + "".join(f"  {table}:\n    title: T\n    {rows}\n" for table in ("table1", "table2"))
    )
    (folder / "published.csv").write_text("table,group,row,column,unit,value,ci,note\ntable1,,A,GAP,%,80,,\n")
    (folder / "claims.yaml").write_text("claims: []\n")
    config = ('papers=["board"]', "tracking_uri=null")
    output = smoke(project, ["results/table1.csv"], config=config)
    assert "results/table1.csv: table1 of board at the scale smoke; as printed: results/smoke/<paper>/" in output
    assert "results/table1_claims.csv: no claim rests on this table alone" in output
    output = smoke(project, ["results/smoke/board/table2.md"], config=config)
    assert "also made: results/smoke/board/table2.md" in output and "table1.csv: table1" not in output
