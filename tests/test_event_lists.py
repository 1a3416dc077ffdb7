"""One's own recordings of sound events: their lists, and the way of the how-to from them to a table."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from projects import copied, with_study
from reader_files import event_lists, lines

from workflow_scripts.corpora.readers.event_lists import Reader
from workflow_scripts.errors import UserError

ROOT = Path(__file__).parent.parent


def test_the_header_tells_how_a_list_is_annotated(tmp_path: Path) -> None:
    event_lists(tmp_path)
    rows = {row["video_id"]: row for row in Reader(folder=tmp_path).read({})}
    assert {name: row["split"] for name, row in rows.items()} == {
        "a.wav": "weak", "b.wav": "unlabelled", "c.wav": "test", "d.wav": "test"
    }  # fmt: skip
    assert rows["a.wav"]["labels"] == ["Cat", "Dog"]
    assert "events" not in rows["a.wav"]
    assert rows["b.wav"].keys() & {"labels", "events"} == set()
    assert rows["c.wav"]["events"] == [{"onset": 0.5, "offset": 10.0, "label": "Cat"}]  # cut at the recording's end
    assert rows["d.wav"]["events"] == rows["d.wav"]["labels"] == []
    assert {row["end"] for row in rows.values()} == {10.0}
    (tmp_path / "durations.tsv").unlink()
    assert {row["end"] for row in Reader(folder=tmp_path).read({})} == {None}


STRONG = ("filename", "onset", "offset", "event_label")


@pytest.mark.parametrize(
    ("name", "rows", "sentence"),
    [
        ("test.tsv", [STRONG, ("c.wav", 2, 1, "Cat")], r"test\.tsv, line 2: an event from 2 to 1 s cannot be"),
        ("test.tsv", [STRONG, ("c.wav", 2, "", "Cat")], r"test\.tsv, line 2: an event needs onset, offset and event"),
        ("test.tsv", [STRONG, ("c.wav", 12, 13, "Cat")], r"test\.tsv, line 2: an event of 'Cat' starts at 12 s, after"),
        ("test.tsv", [STRONG, ("e.wav", 1, 2, "Cat")], r"test\.tsv, line 2: 'e\.wav' has no line in .*durations\.tsv"),
        ("test.tsv", [STRONG[:3], ("c.wav", 1, 2)], r"test\.tsv: no column 'event_label'"),
        ("weak.tsv", [("filename", "event_labels"), ("a.wav", " ,")], r"weak\.tsv, line 2: 'a\.wav' has no label"),
        ("weak.tsv", [("filename", "event_labels"), *[("a.wav", "Cat")] * 2], r"line 3: 'a\.wav' stands twice"),
        ("unlabelled.tsv", [("file",), ("b.wav",)], r"unlabelled\.tsv: no column 'filename'"),
        ("durations.tsv", [("filename", "duration"), ("a.wav", 31)], r"line 2: 'a\.wav' lasts 31 s, and a clip 10 s"),
        ("durations.tsv", [("filename", "duration"), ("a.wav", "x")], r"line 2: duration 'x' must be a number of sec"),
    ],
)
def test_mistakes_are_one_sentence(name: str, rows: list[tuple], sentence: str, tmp_path: Path) -> None:
    event_lists(tmp_path)
    lines(tmp_path / name, rows, "\t")
    with pytest.raises(UserError, match=sentence):
        list(Reader(folder=tmp_path).read({}))


def test_a_folder_without_lists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no list of recordings; write one for each split"):
        list(Reader(folder=tmp_path).read({}))


def recordings(folder: Path) -> None:
    """Low and high tones with noise: eight weakly labelled, four not, and four strongly labelled for each split."""
    rng, lists = np.random.default_rng(0), {"weak": [], "unlabelled": [], "validation": [], "test": [], "durations": []}
    (folder / "audio").mkdir(parents=True)
    for number, split in enumerate(["weak"] * 8 + ["unlabelled"] * 4 + ["validation"] * 4 + ["test"] * 4):
        label, name, length = ("Cat", "Dog")[number % 2], f"{split} {number}.wav", 4.0 + number % 2
        sound = 0.02 * rng.standard_normal(int(length * 16_000))
        sound[16_000:40_000] += 0.3 * np.sin(np.arange(24_000) * (0.05 if label == "Dog" else 0.5))
        soundfile.write(folder / "audio" / name, sound, 16_000)
        told = {"weak": [label], "unlabelled": []}.get(split, [1.0, 2.5, label])
        lists[split].append((name, *told))
        lists["durations"].append((name, length))
    heads = {"weak": ("filename", "event_labels"), "unlabelled": ("filename",), "durations": ("filename", "duration")}
    for split, rows in lists.items():
        lines(folder / f"{split}.tsv", [heads.get(split, STRONG), *rows], "\t")


def command(project: Path, *arguments: str) -> str:
    call = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", 'papers=["my_events"]', "--", *arguments]
    done = subprocess.run(call, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_how_to(tmp_path: Path) -> None:
    """As documented, with fewer steps; then a list is corrected, and what rests on it is made anew."""
    changes = {"steps: 320": "steps: 4", "validate_every: 80": "validate_every: 2"}
    project = with_study(copied(tmp_path), "own-events.md", "my_events", changes)
    (ROOT / "work" / "assets").mkdir(parents=True, exist_ok=True)
    (project / "work").mkdir()
    (project / "work" / "assets").symlink_to(ROOT / "work" / "assets")
    recordings(project / "data" / "my_events")
    target = "results/full/my_events/table1.csv"
    command(project, target)
    with (project / target).open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert {cell["row"] for cell in cells} == {"spectral", "spectral + auditory"}
    assert {(cell["status"], cell["seeds"], cell["items"]) for cell in cells} == {("measured", "3", "4")}
    test = project / "data" / "my_events" / "test.tsv"
    test.write_text(test.read_text().replace("2.5", "2.4"))
    assert re.search(r"\bscore +2\b", command(project, target))
