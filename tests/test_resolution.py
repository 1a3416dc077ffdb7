"""How small a difference a claim's clips can show, and whether the paper's own could show what it claims."""

from pathlib import Path

import pytest

from workflow_scripts.settings.claims import CellAt, Comparison
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.tables.plan import check_claims
from workflow_scripts.tables.resolution import resolution

ROOT = Path(__file__).parent.parent
CELL = CellAt(table="t", row="r", column="c")


@pytest.mark.parametrize(
    ("relation", "margin", "printed", "decidable"),
    [
        ("close", 1.0, "-0.45", "no: the claim is about 1, and 400 clips show 2 or more"),
        ("close", 2.0, "-0.45", "yes"),
        ("less", 0.0, "-0.45", "no: the claim is about 0.45, and 400 clips show 2 or more"),
        ("less", 0.0, "-17.35", "yes"),
        ("greater", 10.0, "16.7", "yes"),
        ("greater", 15.0, "16.7", "no: the claim is about 1.7, and 400 clips show 2 or more"),
    ],
)
def test_the_width_at_the_papers_size(relation: str, margin: float, printed: str, decidable: str) -> None:
    """An interval 8 wide on 100 clips is 4 wide on 400: differences of 2 and more."""
    comparison = Comparison(left=CELL, right=CELL, relation=relation, margin=margin)
    found = resolution(comparison, -5.0, 3.0, 100, 400, printed)
    assert found == {"smallest_difference": "4.0000", "at_paper_size": "2.0000", "decidable": decidable}


def test_without_the_papers_counts_nothing_is_said() -> None:
    comparison = Comparison(left=CELL, right=CELL, relation="close", margin=1.0)
    assert resolution(comparison, -5.0, 3.0, 100, None, "") == {"smallest_difference": "4.0000"}
    comparison = Comparison(left=CELL, right=CELL, relation="greater")
    assert "decidable" not in resolution(comparison, -5.0, 3.0, 100, 400, "")


def test_the_papers_counts_reach_the_claims() -> None:
    scale = Scale(ROOT, Config(), "mini")
    job = check_claims(scale, "boes_avsed")
    assert job.paper_counts["SAV"]["test"] == 779
    assert check_claims(scale, "nora_fusion").paper_counts["image"]["test"] == 5859
