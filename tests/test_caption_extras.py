"""Captions scored beside the paper's metrics: order of events, FENSE, labels of people, Clotho's own files."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fense_files import write_models

from workflow_scripts.captions.event_order import counts, written
from workflow_scripts.captions.grammar import TemporalCaption
from workflow_scripts.errors import UserError
from workflow_scripts.metrics import captions, fluency
from workflow_scripts.scores.families.captioning import Scorer
from workflow_scripts.scores.time_labels import read_time_labels

DOG = TemporalCaption.parse("dog barks: 1; man speaks: 2")
THREE = TemporalCaption.parse("bell rings: 1; dog barks: 2; man speaks: 3; rain falls: background")
SAME = TemporalCaption.parse("dog barks: 1; man speaks: 1")


def scored(records: np.ndarray) -> dict[str, float]:
    return {name: float(value[0]) for name, value in captions.scores(records, np.ones((1, len(records)))).items()}


# the order of named events


@pytest.mark.parametrize(
    ("caption", "references", "expected"),
    [
        ("a dog barks then a man speaks", [DOG], (1, 0, 1)),
        ("a man speaks before a dog barks", [DOG], (0, 1, 1)),
        ("a man speaks after a dog barks", [DOG], (1, 0, 1)),
        ("a dog barks", [DOG], (0, 0, 1)),
        ("a dog barks then a cat meows", [DOG], (0, 0, 1)),
        ("a dog barks while a man speaks", [DOG], (0, 0, 1)),
        ("a dog barks and a man speaks", [DOG], (0, 0, 1)),
        ("", [DOG], (0, 0, 1)),
        ("a dog barks then a man speaks", [SAME], (0, 0, 0)),
        ("a dog barks then a man speaks then a bell rings", [THREE], (1, 2, 3)),
        ("rain falls then a dog barks", [THREE], (0, 0, 3)),
        ("a dog barks then a man speaks", [DOG, SAME, THREE], (2, 0, 4)),
        ("a dog barks then a man speaks", [], (0, 0, 0)),
    ],
)
def test_pairs_of_events_are_counted(
    caption: str, references: list[TemporalCaption], expected: tuple[int, int, int]
) -> None:
    assert tuple(counts([caption], [references], "simultaneous")[0]) == expected


def test_mention_is_an_order_only_if_it_is_to_be_one() -> None:
    assert counts(["a dog barks and a man speaks"], [[DOG]], "mention").tolist() == [[1, 0, 1]]
    said = ["A dog barks and a man speaks", "...", "A dog barks, then a man speaks"]
    assert [reference.orders for reference in written(said, "simultaneous")] == [1, 2]
    assert [reference.orders for reference in written(said, "mention")] == [2, 2]


def test_a_wrong_order_is_seen_that_acc_temp_does_not_see() -> None:
    """Both captions have their `then`."""
    ours = ["a man speaks then a dog barks", "rain falls then thunder rumbles", "a bell rings"]
    theirs = [
        ["a dog barks then a man speaks"],
        ["rain falls, then thunder rumbles"],
        ["a bell rings, then a dog barks"],
    ]
    order = counts(ours, [written(texts, "simultaneous") for texts in theirs], "simultaneous")
    found = scored(captions.records(ours, theirs, ["acc_temp", "order_recall", "order_precision"], order=order))
    assert (found["order_recall"], found["order_precision"]) == (pytest.approx(1 / 3), 0.5)
    assert found["acc_temp"] == pytest.approx(2 / 3)


def test_without_an_order_there_is_no_recall_and_nothing_told_is_no_precision() -> None:
    none = captions.order_scores(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 4.0], [np.nan] * 3]))
    assert np.isnan(none["order_recall"]).tolist() == [True, False, True]
    assert none["order_recall"][1] == 0
    assert none["order_precision"][:2].tolist() == [0, 0] and np.isnan(none["order_precision"][2])


def test_what_is_annotated_goes_before_what_is_written() -> None:
    """A caption without words of time has an order where the manifest knows it; where it knows of none, none."""
    predictions = pa.table({"caption": ["a dog barks then a man speaks"] * 3})
    said = ["A dog barks and a man speaks", "First a dog and then a man"]
    rows: list[dict[str, Any]] = [
        {"clip_id": "a", "captions": said, "temporal": [str(DOG), None]},
        {"clip_id": "b", "captions": said, "temporal": [None, None]},
        {"clip_id": "c", "captions": ["A dog barks, then a man speaks"], "temporal": None},
    ]
    place = sum(list(captions.WIDTHS.values())[: list(captions.WIDTHS).index("order")])
    found = Scorer().records(predictions, rows)[:, place : place + 3]
    assert found.tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 1]]


# FENSE

OURS = ["a dog barks then a man is speaking", "rain falls on a tin roof", "", "a bell rings, the café!", "the the roof"]
THEIRS = [["a dog barks", "dogs barking then a man"], ["rain"], ["it rains", "rain on a roof"]]
THEIRS += [["the bell rings", "a man speaking", "rings"], ["roof"]]
# What aac-metrics 0.6.0 with sentence-transformers says of these networks: sbert_sim and fer.
SIMILAR = [0.8104792833328247, 0.8636164665222168, 0.8132549524307251, 0.8030493855476379, 0.8255239725112915]
FAULTY = [0, 0, 1, 1, 0]


def test_fense_is_that_of_aac_metrics(tmp_path: Path) -> None:
    models = write_models(tmp_path)
    assert fluency.similarity(OURS, THEIRS, models) == pytest.approx(SIMILAR, abs=1e-5)
    assert fluency.fluent_share(OURS, models) == pytest.approx(1 - 0.9 * np.array(FAULTY))


def test_fense_and_spider_fl_are_among_the_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FENSE without SPICE too; SPIDEr-FL takes the same penalty from each clip's SPIDEr."""
    monkeypatch.setattr(captions, "tokenize_all", lambda ours, theirs: (ours, theirs))
    models = write_models(tmp_path)
    found = scored(captions.records(OURS, THEIRS, ["fense", "spider_fl"], fluency=models))
    kept = 1 - 0.9 * np.array(FAULTY)
    assert found["fense"] == pytest.approx(np.mean(SIMILAR * kept), abs=1e-5)
    assert np.isnan(found["spider_fl"])
    spice = np.array([0.5, 0.25, 0, 0.1, 1])
    monkeypatch.setattr(captions, "spice", lambda *_, jars: spice)
    both = captions.records(OURS, THEIRS, ["cider_d", "spice", "spider_fl"], [Path("x.jar")], fluency=models)
    each = (captions.cider_d(OURS, THEIRS) + spice) / 2
    assert scored(both)["spider_fl"] == pytest.approx(np.mean(each * kept))
    assert scored(both)["spider"] == pytest.approx(each.mean())


def test_files_that_are_not_those_of_fense(tmp_path: Path) -> None:
    models = write_models(tmp_path)
    with pytest.raises(UserError, match=r"model\.safetensors: not FENSE's network of errors; it has no 'clf\.weight'"):
        fluency.fluent_share(["a"], models._replace(detector=models.encoder))
    with pytest.raises(UserError, match=r"echecker\.ckpt: not the weights of a BERT"):
        fluency.similarity(["a"], [["a"]], models._replace(encoder=models.detector))


def test_the_family_asks_for_what_it_is_to_compute() -> None:
    fense = {"fense_encoder", "fense_detector", "fense_vocabulary"}
    assert set(Scorer(fense=True).assets) == fense and not Scorer().assets
    assert {"fense", "spider_fl", "order_recall", "order_precision"} <= set(Scorer().metrics)
    assert Scorer(time_labels="labels").assets == ("labels",)


# the command


def table(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "workflow_scripts.scores", "captions", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


CLOTHO = ("file_name", *(f"caption_{number}" for number in range(1, 6)))
DOGS = ("A dog barks", "Then, dogs", "Dogs, loud", "One dog", "Barks")
RAIN = ("Rain", "It rains", "Rain falls", "Heavy rain, then wind", "Drops")


def test_clothos_own_columns(tmp_path: Path) -> None:
    """The same scores as with a row a caption; names with blanks are kept to the letter."""
    own = table(tmp_path / "own.csv", CLOTHO, (" Dogs, 2.wav", *DOGS), ("b.wav", *RAIN))
    rows = [(name, text) for name, texts in ((" Dogs, 2.wav", DOGS), ("b.wav", RAIN)) for text in texts]
    long = table(tmp_path / "long.csv", ("file_name", "caption"), *rows)
    answers = [("b.wav", "rain falls"), (" Dogs, 2.wav", "a dog barks then")]
    said = table(tmp_path / "p.csv", ("file_name", "caption"), *answers)
    metrics = ("--metrics", "bleu_1,cider_d,acc_temp,f1_temp", "--predictions", str(said))
    one, other = (command("--references", str(path), *metrics) for path in (own, long))
    assert (one.returncode, one.stdout) == (0, other.stdout), one.stderr
    assert json.loads(one.stdout)["acc_temp"] == 0.5 and json.loads(one.stdout)["bleu_1"] > 0.5
    twice = table(tmp_path / "twice.csv", CLOTHO, ("b.wav", *RAIN), ("b.wav", *RAIN))
    assert "the file_name 'b.wav' stands twice" in command("--references", str(twice), *metrics).stderr


LABELS = [("clip_id", "human_time_label"), ("a", "0"), ("b", "3"), ("c", "")]


def test_what_people_heard_goes_before_the_words(tmp_path: Path) -> None:
    """Of `a` they heard no order although it is written, of `b` one that is not written, of `c` nothing is known."""
    head, texts = ("clip_id", "caption"), [("a", "a dog then a cat"), ("b", "rain, wind"), ("c", "bell, then a dog")]
    references = table(tmp_path / "r.csv", head, *texts)
    said = table(tmp_path / "p.csv", head, ("a", "a dog then"), ("b", "rain then"), ("c", "bell then"))
    files = ("--references", str(references), "--predictions", str(said), "--metrics", "acc_temp,f1_temp")
    audios = [{"audio_id": "a", "human_time_label": 0}, {"audio_id": "b", "human_time_label": 3}, {"audio_id": "c"}]
    (tmp_path / "labels.json").write_text(json.dumps({"audios": audios}))
    table(tmp_path / "labels.csv", *LABELS)
    assert json.loads(command(*files).stdout) == pytest.approx({"acc_temp": 2 / 3, "f1_temp": 4 / 5})
    for name in ("labels.csv", "labels.json"):
        found = command(*files, "--time-labels", str(tmp_path / name))
        assert json.loads(found.stdout) == pytest.approx({"acc_temp": 2 / 3, "f1_temp": 4 / 5}), found.stderr
    (tmp_path / "labels.json").write_text(json.dumps({"audios": audios[:1]}))
    found = command(*files, "--time-labels", str(tmp_path / "labels.json"))
    assert json.loads(found.stdout) == pytest.approx({"acc_temp": 1 / 3, "f1_temp": 1 / 2})
    table(tmp_path / "labels.csv", LABELS[0], ("x", "1"))
    assert "labels none of the clips" in command(*files, "--time-labels", str(tmp_path / "labels.csv")).stderr


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([("clip_id", "label"), ("a", "0")], "the column 'human_time_label' is missing"),
        ([LABELS[0], ("a", "4")], "line 2: human_time_label is '4'; it is 0, 1, 2 or 3"),
        ([LABELS[0], ("a", "1"), ("a", "1")], "line 3: the clip 'a' stands twice"),
        ([LABELS[0], ("a", "")], "no clip has a human_time_label"),
    ],
)
def test_labels_that_are_none(rows: list[tuple[str, ...]], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        read_time_labels(table(tmp_path / "labels.csv", *rows))
    (tmp_path / "labels.json").write_text('{"audio": []}')
    with pytest.raises(UserError, match="has no `audios`"):
        read_time_labels(tmp_path / "labels.json")


def test_names_of_files_are_kept_to_the_letter(tmp_path: Path) -> None:
    labels = table(tmp_path / "labels.csv", ("file_name", "human_time_label"), (" Dogs, 2.wav", " 2 "), ("b.wav", "1"))
    assert read_time_labels(labels) == {" Dogs, 2.wav": True, "b.wav": False}


def test_labels_reach_the_pipeline(tmp_path: Path) -> None:
    labels = table(tmp_path / "labels.csv", *LABELS)
    rows = [{"clip_id": name, "captions": ["a dog"], "temporal": None} for name in "abc"]
    given, predictions = {"labels": labels}, pa.table({"caption": ["a dog then"] * 3})
    place = sum(list(captions.WIDTHS.values())[: list(captions.WIDTHS).index("temporal")])
    found = Scorer(time_labels="labels").records(predictions, rows, given)[:, place : place + 4]
    assert found.argmax(axis=1).tolist() == [1, 0, 1]
    assert Scorer().records(predictions, rows)[:, place : place + 4].argmax(axis=1).tolist() == [1, 1, 1]
