"""The commands that score: two event files by hand, and predictions in the pipeline."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sed_files import HEAD, manifest_of, predictions_of

from workflow_scripts.errors import UserError
from workflow_scripts.scores import sed
from workflow_scripts.scores.families.sed import Scorer
from workflow_scripts.scores.plan import Score

REFERENCE = HEAD + "a.wav\t0\t2\tDog\nb.wav\t\t\t\nc.wav\t1\t3\tCat\n"


def score_files(folder: Path, reference: str, estimate: str, *labels: str) -> dict[str, float]:
    """The scores of two files of events."""
    (folder / "ref.tsv").write_text(reference)
    (folder / "est.tsv").write_text(estimate)
    sed.main(folder / "ref.tsv", folder / "est.tsv", list(labels), folder / "scores.json")
    return json.loads((folder / "scores.json").read_text())


def command(folder: Path) -> subprocess.CompletedProcess[str]:
    files = ["--reference", str(folder / "ref.tsv"), "--estimate", str(folder / "est.tsv")]
    arguments = [sys.executable, "-m", "workflow_scripts.scores", "sed", *files]
    return subprocess.run(arguments, capture_output=True, text=True, check=False)


def test_the_command_prints_scores_and_mistakes(tmp_path: Path) -> None:
    """One event found, one missed, one false in a file without events; then a mistake."""
    scores = score_files(tmp_path, REFERENCE, HEAD + "a.wav\t0.1\t2.1\tDog\nb.wav\t3\t4\tCat\n")
    by_class = scores.pop("classes")
    assert scores == pytest.approx(
        {
            "clip_micro_f1": 0.5,
            "clip_micro_precision": 0.5,
            "clip_micro_recall": 0.5,
            "segment_micro_f1": 4 / 8,  # TP 2; FP 1 (the third second of a) + 1; FN 2
            "segment_micro_precision": 0.5,
            "segment_micro_recall": 0.5,
            "segment_error_rate": 4 / 4,
            "event_macro_f1": 0.5,
            "event_macro_precision": 0.5,
            "event_macro_recall": 0.5,
            "event_macro_error_rate": 1.0,  # Dog 0; Cat one missed and one false, of one
            "event_macro_f1_observed": 0.5,
            "event_micro_f1": 0.5,
        }
    )
    assert by_class["Dog"]["event_f1"] == 1
    assert by_class["Cat"]["event_error_rate"] == 2
    assert by_class["Dog"]["segment_precision"] == pytest.approx(2 / 3)
    result = command(tmp_path)
    assert json.loads(result.stdout) == {**scores, "classes": by_class}
    assert "Cat, Dog" in result.stderr
    assert "1 of 3 files are not named" in result.stderr

    (tmp_path / "est.tsv").write_text(HEAD + "a.wav\t2\t1\tDog\n")
    result = command(tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"error: {tmp_path / 'est.tsv'}, line 2: offset 1 lies before onset 2\n"


def test_a_silent_system_scores_zero(tmp_path: Path) -> None:
    scores = score_files(tmp_path, REFERENCE, HEAD, "Cat,Dog,Speech")
    assert {scores.pop("segment_error_rate"), scores.pop("event_macro_error_rate")} == {1.0}
    assert scores.pop("classes").keys() == {"Cat", "Dog"}  # Speech has no event
    assert set(scores.values()) == {0.0}


@pytest.mark.parametrize(
    ("estimate", "sentence"),
    [
        ("filename\tonset\toffset\na.wav\t0\t1\n", "est.tsv: the column 'event_label' is missing"),
        (HEAD + "a.wav\t0\t1\tDog\na.wav\tx\t1\tDog\n", "est.tsv, line 3: onset 'x' is not a number"),
        (HEAD + "a.wav\t2\t1\tDog\n", "est.tsv, line 2: offset 1 lies before onset 2"),
        (HEAD + "a.wav\t-1\t1\tDog\n", "est.tsv, line 2: onset '-1' must be a finite number of seconds, 0 or more"),
        (HEAD + "a.wav\tnan\t1\tDog\n", "est.tsv, line 2: onset 'nan' must be a finite number"),
        (HEAD + "a.wav\t0\t1\n", "est.tsv, line 2: an event needs onset, offset and event_label"),
        (HEAD + "d.wav\t0\t1\tDog\n", "est.tsv: 'd.wav' is not a file of"),
        (HEAD + "a.wav\t1e9\t1e9\tDog\n", "est.tsv, line 2: onset '1e9' lies beyond a day"),
        (HEAD + "a.wav\t0\t1\tDogs\n", "est.tsv: the event label 'Dogs' is not among --labels; did you mean 'Dog'?"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, estimate: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        score_files(tmp_path, REFERENCE, estimate, "Cat,Dog")
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    "labels",
    [
        ["Male speech, man speaking,Dog"],
        ["Dog, Male speech,man speaking"],
        ['"Male speech, man speaking", Dog'],
        ["Dog", "Male speech, man speaking"],
        ["Dog,Male speech, man speaking,Cat, purring", "Male"],
    ],
)
def test_a_class_name_may_hold_a_comma(tmp_path: Path, labels: list[str]) -> None:
    """Two of the classes stand in the files, and each of the others adds a clip score of 0 to nothing."""
    reference = HEAD + "a.wav\t0\t2\tMale speech, man speaking\nb.wav\t0\t1\tDog\n"
    scores = score_files(tmp_path, reference, HEAD + "a.wav\t0\t2\tMale speech, man speaking\n", *labels)
    assert scores["event_macro_f1_observed"] == 1.0
    assert scores["event_micro_f1"] == pytest.approx(2 / 3)


def test_blanks_that_nobody_sees_are_no_part_of_names(tmp_path: Path) -> None:
    """Copied out of pages and spreadsheets, with the ends of lines of other systems."""
    reference = "\ufeff" + HEAD.replace("\n", " \r\n") + "a.wav\t0\t2\tDog\u200b\r\n\u2009c.wav\t1 \t3\tCat\r\n"
    scores = score_files(tmp_path, reference, HEAD + "a.wav \t0\t2\tDog\nc.wav\t\u00a01\t3\tCat\u3000\n", "Cat,Dog")
    assert scores["event_macro_f1"] == 1.0


def test_a_reference_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ref.tsv: holds no event, so no score is defined"):
        score_files(tmp_path, HEAD + "a.wav\t\t\t\n", HEAD)


def score_predictions(folder: Path, *predictions: Path) -> None:
    job = Score(family="sed", settings=Scorer(), manifest=manifest_of(folder), predictions=predictions)
    job.run(*(folder / f"{name}.parquet" for name in ("scores", "counts", "replicates")))


def test_predictions_are_scored_by_seed_and_split(tmp_path: Path) -> None:
    files = predictions_of(tmp_path / "0.parquet", [0]), predictions_of(tmp_path / "1.parquet", [1])
    score_predictions(tmp_path, *files)
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    values = {(row["seed"], row["split"], row["metric"]): row["value"] for row in rows}
    assert len(values) == 4 * len(Scorer().metrics)
    assert values[0, "test", "event_micro_f1"] == pytest.approx(2 / 3)
    assert values[0, "test", "clip_micro_f1"] == pytest.approx(2 / 3)
    assert values[0, "validation", "event_macro_f1"] == 1
    assert values[0, "validation", "clip_micro_f1"] == 1
    assert values[1, "validation", "clip_micro_f1"] == 0

    counts = pq.read_table(tmp_path / "counts.parquet")
    assert counts.num_rows == 8
    assert counts.schema.metadata[b"family"] == b"sed"


def test_a_clip_without_strong_annotation_counts_in_the_clip_score_only(tmp_path: Path) -> None:
    """Seed 0 puts out a Cat in d, which has only the tag."""
    table = pq.read_table(predictions_of(tmp_path / "p.parquet", [0], clips="d"))
    records = Scorer().records(table, [{"clip_id": "d", "labels": ["Cat"], "events": None}])
    scores = Scorer().aggregate(records, np.ones((1, 1)))
    assert scores.pop("clip_micro_f1") == scores.pop("clip_micro_precision") == scores.pop("clip_micro_recall") == 1
    assert np.isnan([scores.pop("psds1"), scores.pop("psds2")]).all()
    assert not any(scores.values())


def test_mistakes_in_predictions_are_one_sentence(tmp_path: Path) -> None:
    one = predictions_of(tmp_path / "one.parquet", [0])
    stranger = predictions_of(tmp_path / "stranger.parquet", [0], clips="e")
    other = predictions_of(tmp_path / "other.parquet", [1], classes=["Cat", "Cow"])
    for files, sentence in (
        ((one, one), "clip a is predicted twice by seed 0"),
        ((stranger,), "has no clip e, which the predictions name"),
        ((one, other), "other classes, frames or columns than in"),
        ((other,), "its label 'Dog' is not a class of the system"),
    ):
        with pytest.raises(UserError, match=sentence):
            score_predictions(tmp_path, *files)
