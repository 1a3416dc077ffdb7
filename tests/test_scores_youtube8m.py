"""Ranked labels scored by the command, and by the family of the pipeline with its records."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.errors import UserError
from workflow_scripts.metrics import bootstrap
from workflow_scripts.scores import youtube8m
from workflow_scripts.scores.families.multilabel import Scorer
from workflow_scripts.scores.plan import Score
from workflow_scripts.scores.replicates import Replicated
from workflow_scripts.shards import Row, array_field, pack, write

LABELS: dict[str, Any] = {"video_id": ["a", "b", "c"], "labels": [[0, 2], [], [1]]}
PREDICTIONS: dict[str, Any] = {
    "video_id": ["c", "a", "b"],
    "classes": [[], [1, 0, 2], [3]],
    "scores": [[], [0.1, 0.9, 0.3], [0.5]],
}
# The pool by score: 0 of a (true), 3 of b, 2 of a (true), 1 of a; three labels in all.
SCORES = {"gap": 5 / 9, "map": 2 / 4, "map_positive_classes": 2 / 3, "hit_at_1": 1 / 3, "perr": 1 / 3}


def scored(folder: Path, labels: dict[str, Any], predictions: dict[str, Any], **options: Any) -> dict[str, float]:
    """What the command writes about two tables."""
    for name, columns in (("labels", labels), ("predictions", predictions)):
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    files = folder / "labels.parquet", folder / "predictions.parquet"
    youtube8m.main(*files, **{"top_k": 20, "classes": None, "output": folder / "scores.json", **options})
    return json.loads((folder / "scores.json").read_text())


def test_the_command_prints_scores_and_mistakes(tmp_path: Path) -> None:
    """Lists in any order, an empty one on either side, rows in another order in the other file."""
    scores = scored(tmp_path, LABELS, PREDICTIONS)
    assert scores == pytest.approx(SCORES)
    command = [
        sys.executable,
        "-m",
        "workflow_scripts.scores",
        "youtube8m",
        "--labels",
        str(tmp_path / "labels.parquet"),
    ]
    command += ["--predictions", str(tmp_path / "predictions.parquet")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(result.stdout) == scores
    assert "classes: 4" in result.stderr
    result = subprocess.run([*command, "--classes", "2"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"error: {command[5]}: the video 'a' names class 2, but --classes is 2\n"


def test_a_kaggle_submission_is_scored(tmp_path: Path) -> None:
    """The same as in Parquet, lists in any order, an empty one among them."""
    pq.write_table(pa.table(LABELS), tmp_path / "labels.parquet")
    path = tmp_path / "submission.csv"
    path.write_text("VideoId,LabelConfidencePairs\nc,\na,1 0.1 0 0.9 2 0.3\nb,3 5e-1\n")
    command = [sys.executable, "-m", "workflow_scripts.scores", "youtube8m"]
    command += ["--labels", str(tmp_path / "labels.parquet"), "--predictions", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(result.stdout) == pytest.approx(SCORES)
    for content, sentence in (
        (
            "VideoId,LabelConfidencePairs\na,1 0.1 2\n",
            "submission.csv, line 2: not pairs of a class number and a score",
        ),
        ("VideoId,LabelConfidencePairs\na,1 x\n", "submission.csv, line 2: not pairs of a class number and a score"),
        ("VideoId,Labels\na,1 0.5\n", "the column 'LabelConfidencePairs' is missing"),
        ("VideoId,LabelConfidencePairs\na,1 0.5\na,1 0.5\n", "the video 'a' stands twice"),
    ):
        path.write_text(content)
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 1 and sentence in result.stderr


def test_the_options_count(tmp_path: Path) -> None:
    scores = scored(tmp_path, LABELS, PREDICTIONS, top_k=1, classes=10)
    assert scores == pytest.approx({**SCORES, "gap": 1 / 3, "map": 1 / 10, "map_positive_classes": 1 / 3})


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_narrow_types_do(tmp_path: Path, kind: Any) -> None:
    labels = {**LABELS, "labels": pa.array(LABELS["labels"], kind(pa.int16()))}
    predictions = {
        "video_id": pa.array(PREDICTIONS["video_id"], pa.large_string()),
        "classes": pa.array(PREDICTIONS["classes"], kind(pa.uint8())),
        "scores": pa.array(PREDICTIONS["scores"], kind(pa.float32())),
    }
    assert scored(tmp_path, labels, predictions) == pytest.approx(SCORES)


def test_videos_without_any_label_score_zero(tmp_path: Path) -> None:
    labels = {**LABELS, "labels": pa.array([[], [], []], pa.list_(pa.int64()))}
    assert set(scored(tmp_path, labels, PREDICTIONS).values()) == {0.0}


@pytest.mark.parametrize(
    ("labels", "predictions", "sentence"),
    [
        ({"video_id": ["a", "b", "d"]}, {}, "predictions.parquet: the video 'd' of"),
        ({}, {"video_id": ["c", "a", "d"]}, "predictions.parquet: the video 'b' of"),
        ({"video_id": ["a", "b"], "labels": [[0], []]}, {}, "labels.parquet: the video 'c' of"),
        ({"video_id": ["a", "b", "a"]}, {}, "labels.parquet: the video 'a' stands twice"),
        ({"video_id": ["a", "b", None]}, {}, "labels.parquet: a row has no video_id"),
        ({"labels": [[0, 0], [], [1]]}, {}, "labels.parquet: the video 'a' names class 0 twice in 'labels'"),
        ({"labels": [[0], None, [1]]}, {}, "labels.parquet: the video 'b' has no 'labels'"),
        ({"labels": [[0], [None], [1]]}, {}, "labels.parquet: the lists of 'labels' hold null"),
        ({"labels": [[0.5], [], [1]]}, {}, "labels.parquet: the lists of 'labels' are not all of type int64"),
        ({"labels": [["x"], [], ["y"]]}, {}, "labels.parquet: the lists of 'labels' are not all of type int64"),
        ({"labels": [0, 1, 2]}, {}, "labels.parquet: the column 'labels' holds int64; it must hold lists"),
        ({}, {"classes": [[], [1, 0, 1], [3]]}, "predictions.parquet: the video 'a' names class 1 twice"),
        ({}, {"classes": [[], [1, 0, -2], [3]]}, "predictions.parquet: the video 'a' names class -2"),
        ({}, {"classes": [[], [1, 0, 2], [10**12]]}, "predictions.parquet: the video 'b' names class 1000000000000"),
        ({}, {"classes": [[], [1, 0], [3]]}, "the video 'a' has 2 classes and 3 scores"),
        ({}, {"scores": [[], [0.1, float("nan"), 0.3], [0.5]]}, "the video 'a' has a score that is not a number"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, labels: dict[str, Any], predictions: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError) as error:
        scored(tmp_path, {**LABELS, **labels}, {**PREDICTIONS, **predictions})
    assert sentence in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "scores.json").exists()


def test_files_that_are_no_tables_of_videos(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the column 'scores' is missing; known: classes, video_id"):
        scored(tmp_path, LABELS, {"video_id": ["a"], "classes": [[1]]})
    with pytest.raises(UserError, match=r"labels\.parquet: holds no video"):
        scored(tmp_path, pa.table(LABELS).slice(0, 0).to_pydict(), PREDICTIONS)
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        youtube8m.main(tmp_path / "text.parquet", tmp_path / "text.parquet")


def test_many_videos_need_no_dense_matrix(tmp_path: Path) -> None:
    """A system that knows all: 3 of 10,000,000 classes for each of 2,000 videos."""
    random = np.random.default_rng(0)
    classes = random.integers(0, 3_000_000, size=(2000, 3)) + 3_000_000 * np.arange(3)
    lists = {"video_id": [f"{n:04}" for n in range(2000)], "labels": classes.tolist()}
    predictions = {
        "video_id": lists["video_id"],
        "classes": classes.tolist(),
        "scores": random.random((2000, 3)).tolist(),
    }
    scores = scored(tmp_path, lists, predictions, classes=10_000_000)
    known = len(np.unique(classes)) / 10_000_000
    assert scores == pytest.approx({**dict.fromkeys(SCORES, 1.0), "map": known})


NAMES = ["Games", "Games", "Car", "Dance", "Dog"]  # names may repeat


def files(folder: Path, clips: int = 40) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """A manifest and predictions of two seeds, with the labels (clips, 5) and scores (seeds, clips, 5) in them."""
    random = np.random.default_rng(1)
    labels = random.random((clips, 5)) < 0.35
    scores = (random.random((2, clips, 5)) / 2 + labels * random.random((2, clips, 5)) / 2).astype(np.float32)
    ids = [f"c{n:02}" for n in range(clips)]
    rows: list[Row] = [
        {"clip_id": clip, "split": "test", "labels": [str(c) for c in np.flatnonzero(row)]}
        for clip, row in zip(ids, labels, strict=True)
    ]
    types = [("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string()))]
    write(folder / "manifest.parquet", rows, pa.schema(types))
    lists = array_field("classes", "int32", (5,)), array_field("scores", "float32", (5,))
    about = {"classes": json.dumps(NAMES)}
    schema = pa.schema([pa.field("seed", pa.int32()), pa.field(*types[0]), pa.field(*types[1]), *lists], metadata=about)
    rows = []
    for seed in (0, 1):
        for clip, values in zip(ids, scores[seed], strict=True):
            best = np.argsort(-values, kind="stable")
            arrays = {"classes": pack(best, lists[0]), "scores": pack(values[best], lists[1])}
            rows.append({"seed": seed, "clip_id": clip, "split": "test", **arrays})
    write(folder / "predictions.parquet", rows, schema)
    return folder / "manifest.parquet", folder / "predictions.parquet", labels, scores


@pytest.mark.parametrize("top_k", [2, 5, 20])
def test_the_pipeline_scores_as_the_command_does(tmp_path: Path, top_k: int) -> None:
    manifest, predictions, labels, scores = files(tmp_path)
    scorer = Scorer(top_k=top_k, max_labels=5)
    job = Score(family="multilabel", settings=scorer, manifest=manifest, predictions=[predictions])
    job.run(*(tmp_path / f"{name}.parquet" for name in ("scores", "counts", "replicates")))
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    ids = [str(n) for n in range(len(labels))]
    for seed in (0, 1):
        truth = {"video_id": ids, "labels": [np.flatnonzero(row).tolist() for row in labels]}
        lists = {"video_id": ids, "classes": [[0, 1, 2, 3, 4]] * len(ids), "scores": scores[seed].tolist()}
        expected = scored(tmp_path, truth, lists, top_k=top_k, classes=5)
        ours = {row["metric"]: row["value"] for row in rows if row["seed"] == seed}
        assert {name: ours[name] for name in expected} == pytest.approx(expected)

    weights = bootstrap.clip_weights(len(labels), 1000, "test")
    resampled = Replicated.load(tmp_path / "replicates.parquet").scores["test"]
    drawn = np.repeat(np.arange(len(labels)), weights[7])
    truth = {
        "video_id": [str(n) for n in range(len(drawn))],
        "labels": [np.flatnonzero(labels[d]).tolist() for d in drawn],
    }
    lists = {
        "video_id": truth["video_id"],
        "classes": [[0, 1, 2, 3, 4]] * len(drawn),
        "scores": scores[1, drawn].tolist(),
    }
    expected = scored(tmp_path, truth, lists, top_k=top_k, classes=5)
    assert {name: resampled[name][1][1, 7] for name in expected} == pytest.approx(expected)


def test_mistakes_in_predictions_are_one_sentence(tmp_path: Path) -> None:
    _, path, _, _ = files(tmp_path, clips=1)
    table = pq.read_table(path).slice(0, 1)
    for labels, sentence in (
        (None, "clip c00: has no labels in the manifest"),
        (["5"], "clip c00: its label '5' is not a class number below 5"),
        (["Dog"], "its label 'Dog' is not a class number"),
        (["0", "1", "2"], "has 3 labels; raise 'max_labels', which is 2"),
    ):
        with pytest.raises(UserError, match=sentence):
            Scorer(max_labels=2).records(table, [{"clip_id": "c00", "labels": labels}])
    field = table.schema.field("scores")
    broken = table.set_column(4, field, pa.array([pack(np.full(5, np.nan), field)], field.type))
    with pytest.raises(UserError, match="clip c00: a score is not a finite number"):
        Scorer().records(broken, [{"clip_id": "c00", "labels": ["1"]}])
    fewer = table.replace_schema_metadata({"classes": json.dumps(NAMES[:3])})
    with pytest.raises(UserError, match="the predictions name class 0 to 4; there are 3 classes"):
        Scorer().records(fewer, [{"clip_id": "c00", "labels": ["1"]}])
