"""Readers of annotation files."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from workflow_scripts.corpora.annotate import manifest
from workflow_scripts.corpora.readers import dcase2018
from workflow_scripts.errors import UserError
from workflow_scripts.settings.sample import Sample
from workflow_scripts.shards import Reason


def dcase_files(folder: Path) -> dict[str, Path]:
    return {
        "weak": folder / "weak.csv",
        "unlabelled": folder / "unlabel_in_domain.csv",
        "validation": folder / "test.csv",
        "test": folder / "eval.csv",
    }


def test_real_dcase2018_counts(shared: Path) -> None:
    clips = list(dcase2018.Reader().read(dcase_files(shared / "data/metadata/dcase2018")))
    assert Counter(clip["split"] for clip in clips) == {
        "weak": 1578,
        "unlabelled": 14412,
        "validation": 288,
        "test": 880,
    }
    events = Counter(clip["split"] for clip in clips for _ in clip.get("events", []))
    assert events == {"validation": 908, "test": 3328}
    assert sum(not clip["events"] for clip in clips if clip["split"] == "test") == 15
    weak = [clip["labels"] for clip in clips if clip["split"] == "weak"]
    assert Counter(map(len, weak)) == {1: 984, 2: 519, 3: 75}
    assert Counter(label for labels in weak for label in labels)["Speech"] == 550
    seconds = [clip["end"] - clip["start"] for clip in clips if clip["split"] == "weak"]
    assert sum(length == 10 for length in seconds) == 1549
    assert len(list(manifest(lambda: clips, "https://www.youtube.com/watch?v={video_id}"))) == 17158


def test_clip_name() -> None:
    assert dcase2018.clip("Y-_0bc-_fghI_30.000_40.500.wav", "weak.csv, line 2") == {
        "clip_id": "Y-_0bc-_fghI_30.000_40.500",
        "video_id": "-_0bc-_fghI",
        "start": 30.0,
        "end": 40.5,
    }


@pytest.mark.parametrize("name", ["clip.wav", "Yshort_0.000_1.000.wav", "Yabcdefghijk_2.000_1.000.wav"])
def test_bad_clip_name(name: str) -> None:
    with pytest.raises(UserError, match=name):
        dcase2018.clip(name, "weak.csv, line 2")


def test_bad_files(tmp_path: Path) -> None:
    file = tmp_path / "test.csv"
    file.write_text("filename,onset,offset,event_label\n")
    with pytest.raises(UserError, match="tab-separated"):
        list(dcase2018.strong(file, "test"))
    file.write_text("filename\tonset\toffset\tevent_label\nYabcdefghijk_0.000_9.000.wav\t3\t2\tDog\n")
    with pytest.raises(UserError, match=r"from 3.0 to 2.0 s"):
        list(dcase2018.strong(file, "test"))


def test_limit_keeps_the_same_clips() -> None:
    clips = [
        {"clip_id": f"{split}{i}", "video_id": "x", "start": 0.0, "end": 1.0, "split": split}
        for split in ("weak", "test")
        for i in range(20)
    ]
    kept = {row["clip_id"] for row in manifest(lambda: clips, "{video_id}", Sample(limit=5)) if row["status"] == "ok"}
    assert Counter(name.rstrip("0123456789") for name in kept) == {"weak": 5, "test": 5}
    reversed_order = list(manifest(lambda: clips[::-1], "{video_id}", Sample(limit=5)))
    assert {row["clip_id"] for row in reversed_order if row["status"] == "ok"} == kept
    assert {row.get("reason") for row in reversed_order if row["status"] != "ok"} == {Reason.LIMIT}


def test_a_clip_in_two_splits_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "workflow_scripts.corpora.annotate", "--reader", "dcase2018"]
    for role, header in (("weak", "filename\tevent_labels"), ("unlabelled", "filename")):
        content = "Yaaaaaaaaaaa_0.000_10.000.wav\tDog" if role == "weak" else "Yaaaaaaaaaaa_0.000_10.000.wav"
        (tmp_path / role).write_text(f"{header}\n{content}\n")
        command += ["--annotation", f"{role}={tmp_path / role}"]
    for role in ("validation", "test"):
        (tmp_path / role).write_text("filename\tonset\toffset\tevent_label\nYbbbbbbbbbbb_0.000_10.000.wav\t0\t1\tDog\n")
        command += ["--annotation", f"{role}={tmp_path / role}"]
    (tmp_path / "test").write_text("filename\tonset\toffset\tevent_label\nYccccccccccc_0.000_10.000.wav\t0\t1\tDog\n")
    command += ["--definition", '{"link": "{video_id}.mp4"}', "--output", str(tmp_path / "manifest.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "'Yaaaaaaaaaaa_0.000_10.000' stands in two splits" in done.stderr
    assert not (tmp_path / "manifest.parquet").exists()
