"""Videos of a corpus's train part that validate: a list that any corpus may have, and that composed ones write."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from workflow_scripts import shards
from workflow_scripts.corpora import annotate
from workflow_scripts.errors import UserError


@pytest.fixture
def splits(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """The split of every clip that the command finds in an annotation file of VGGSound beside a list of videos."""
    rows = [("a", 1, "rain", "train"), ("b", 2, "rain", "train"), ("b", 9, "owl", "train"), ("c", 3, "rain", "test")]
    with (tmp_path / "vggsound.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    given = [f"clips={tmp_path / 'vggsound.csv'}", f"held_out={tmp_path / 'held_out.txt'}"]

    def annotated(videos: str) -> dict[str, str]:
        (tmp_path / "held_out.txt").write_text(videos)
        annotate.main("vggsound", '{"link": "{video_id}"}', tmp_path / "manifest.parquet", given)
        return {row["clip_id"]: row["split"] for row in shards.read(tmp_path / "manifest.parquet")}

    return annotated


def test_all_clips_of_a_held_out_video_validate(splits: Callable[[str], dict[str, str]]) -> None:
    found = splits("b\n\n")
    assert found == {"a_000001": "train", "b_000002": "validation", "b_000009": "validation", "c_000003": "test"}


@pytest.mark.parametrize("video", ["c", "B"])
def test_a_video_that_is_not_learned_from_cannot_be_held_out(
    splits: Callable[[str], dict[str, str]], video: str
) -> None:
    with pytest.raises(UserError, match=rf"held_out.txt, line 2: '{video}' has no clip in the split 'train'"):
        splits(f"a\n{video}\n")
