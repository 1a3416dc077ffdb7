"""What the paper yt8m_text is as data: its printed numbers, and which of its models are the same."""

import csv
from pathlib import Path

import pytest

from workflow_scripts.settings.papers import OVERLAYS, Paper
from workflow_scripts.settings.tables import Table
from workflow_scripts.tables.cells import read_published

PAPER = Path(__file__).parent.parent / "papers" / "yt8m_text"


@pytest.mark.parametrize("scale", OVERLAYS)
def test_visual_and_audio_of_table_5_is_the_model_of_table_2(scale: str) -> None:
    experiments = Paper.load(PAPER, scale).experiments
    assert experiments["text_va"].settings["model"] == experiments["moe_va"].settings["model"]
    for name in ("text_va", "text_vak", "text_vakt"):
        model, scaled = (experiments[own].settings["model"] for own in (name, f"{name}_blocks"))
        assert scaled == {**model, "normalise": "blocks"}


@pytest.mark.parametrize("name", ["keywords_A", "keywords_B"])
def test_models_of_the_mini_scale_are_not_stopped_on_a_plateau(name: str) -> None:
    assert Paper.load(PAPER, "mini").experiments[name].settings["optimisation"].get("stop_below") is None


def test_table_1_counts_videos(shared: Path) -> None:
    table = Table.check(Paper.load(PAPER, "full").tables["table1"], "table1")
    assert {cell.unit for cell in table.cells} == {"videos"}
    with (shared / "papers" / "yt8m_text" / "table1.csv").open(newline="") as stream:
        printed = {(line["row_label"], line["col_label"]): line["value"] for line in csv.DictReader(stream)}
    ours = read_published(PAPER / "published.csv")
    found = {(place.row, place.column): line["value"] for (name, place), line in ours.items() if name == "table1"}
    assert found == {place: f"{float(value) * 1e6:.0f}" for place, value in printed.items() if value}
