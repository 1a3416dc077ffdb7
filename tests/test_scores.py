"""The commands that score: two event files by hand, and predictions in the pipeline."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.errors import UserError
from workflow_scripts.scores import sed
from workflow_scripts.scores.families.sed import Scorer
from workflow_scripts.scores.plan import Score
from workflow_scripts.shards import Row, array_field, pack, write

CLASSES = ["Cat", "Dog"]
HEAD = "filename\tonset\toffset\tevent_label\n"
REFERENCE = HEAD + "a.wav\t0\t2\tDog\nb.wav\t\t\t\nc.wav\t1\t3\tCat\n"
EVENTS = pa.list_(pa.struct([("onset", pa.float64()), ("offset", pa.float64()), ("label", pa.string())]))
MANIFEST = pa.schema(
    [("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string())), ("events", EVENTS)]
)


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
    assert scores == pytest.approx(
        {
            "clip_micro_f1": 0.5,
            "segment_micro_f1": 4 / 8,  # TP 2; FP 1 (the third second of a) + 1; FN 2
            "event_macro_f1": 0.5,
            "event_macro_f1_observed": 0.5,
            "event_micro_f1": 0.5,
        }
    )
    result = command(tmp_path)
    assert json.loads(result.stdout) == scores
    assert "Cat, Dog" in result.stderr
    assert "1 of 3 files are not named" in result.stderr

    (tmp_path / "est.tsv").write_text(HEAD + "a.wav\t2\t1\tDog\n")
    result = command(tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"error: {tmp_path / 'est.tsv'}, line 2: offset 1 lies before onset 2\n"


def test_a_silent_system_scores_zero(tmp_path: Path) -> None:
    assert set(score_files(tmp_path, REFERENCE, HEAD, "Cat,Dog,Speech").values()) == {0.0}


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


def test_a_reference_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ref.tsv: holds no event, so no score is defined"):
        score_files(tmp_path, HEAD + "a.wav\t\t\t\n", HEAD)


def manifest_of(folder: Path) -> Path:
    dog, cat = ({"onset": 0.0, "offset": 2.0, "label": label} for label in ("Dog", "Cat"))
    rows: list[Row] = [
        {"clip_id": "a", "split": "test", "events": [dog]},
        {"clip_id": "b", "split": "test", "events": []},
        {"clip_id": "c", "split": "validation", "events": [cat]},
        {"clip_id": "d", "split": "validation", "labels": ["Cat"], "events": None},
    ]
    write(folder / "manifest.parquet", rows, MANIFEST)
    return folder / "manifest.parquet"


def predictions_of(path: Path, seeds: Sequence[int], clips: str = "abcd", classes: list[str] = CLASSES) -> Path:
    """Seed 0 is right on every clip but puts out a Dog in b; the others put out nothing. Frames of 0.1 s."""
    clip, frames = array_field("clip", "float32", (2,)), array_field("frames", "float16", (30, 2))
    rows = []
    for seed in seeds:
        for name in clips:
            active = np.zeros((30, 2))
            if seed == 0:
                active[:20, CLASSES.index("Cat" if name in "cd" else "Dog")] = 0.9
            arrays = {"clip": pack(active.max(axis=0), clip), "frames": pack(active, frames)}
            split = "test" if name in "ab" else "validation"
            rows.append({"seed": seed, "clip_id": name, "split": split, "seconds": 3.0, **arrays})
    fields = [("seed", pa.int32()), ("clip_id", pa.string()), ("split", pa.string()), ("seconds", pa.float64())]
    about = {"classes": json.dumps(classes), "frame_seconds": "0.1"}
    write(path, rows, pa.schema([*(pa.field(*f) for f in fields), clip, frames], metadata=about))
    return path


def score_predictions(folder: Path, *predictions: Path) -> None:
    job = Score(family="sed", settings=Scorer(), manifest=manifest_of(folder), predictions=predictions)
    job.run(*(folder / f"{name}.parquet" for name in ("scores", "counts", "replicates")))


def test_predictions_are_scored_by_seed_and_split(tmp_path: Path) -> None:
    files = predictions_of(tmp_path / "0.parquet", [0]), predictions_of(tmp_path / "1.parquet", [1])
    score_predictions(tmp_path, *files)
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    values = {(row["seed"], row["split"], row["metric"]): row["value"] for row in rows}
    assert len(values) == 20
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
    assert records[0, 0].tolist() == [[1, 0, 0], [0, 0, 0]]
    assert not records[0, 1:].any()


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
