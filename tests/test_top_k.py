"""Accuracy among the k likeliest, for one head and for several, against plain counting."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.errors import UserError
from workflow_scripts.scores.families.top_k import Scorer
from workflow_scripts.scores.plan import Score
from workflow_scripts.shards import STATE, array_field, pack, write

EPIC = Scorer(heads=["verb", "noun"])
NAMES = {"verb": [str(n) for n in range(3)], "noun": [str(n) for n in range(0, 24, 3)]}


def predictions(logits: dict[str, np.ndarray], names: dict[str, list[str]]) -> pa.Table:
    """A system's table of one seed, its clips named by their place."""
    fields = [array_field(f"logits_{head}", "float32", values.shape[1:]) for head, values in logits.items()]
    clips = len(next(iter(logits.values())))
    columns: dict[str, Any] = {
        field.name: [pack(row, field) for row in values] for field, values in zip(fields, logits.values(), strict=True)
    }
    columns |= {"seed": [0] * clips, "clip_id": [f"clip{n}" for n in range(clips)], "split": ["test"] * clips}
    columns["seconds"] = [4.0] * clips
    about = [("seed", pa.int32()), ("clip_id", pa.string()), ("split", pa.string()), ("seconds", pa.float64())]
    return pa.table(columns, pa.schema([*about, *fields], metadata={"heads": json.dumps(names)}))


def references(labels: list[list[str] | None]) -> list[dict[str, Any]]:
    return [{"clip_id": f"clip{n}", "labels": found} for n, found in enumerate(labels)]


@st.composite
def systems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]:
    """Logits with many ties of both heads, and true classes, some of which no head has."""
    clips = draw(st.integers(1, 6))
    values = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
    verb, noun = (
        np.array(draw(st.lists(values, min_size=clips * n, max_size=clips * n)), np.float32).reshape(clips, n)
        for n in (3, 8)
    )
    true = draw(st.lists(st.tuples(st.sampled_from(["0", "1", "2", "9"]), st.sampled_from([*NAMES["noun"], "1"])),
                         min_size=clips, max_size=clips))  # fmt: skip
    return verb, noun, true


def ranked(logits: np.ndarray, names: list[str]) -> list[str]:
    """Classes from the likeliest on."""
    return [names[place] for place in sorted(range(len(names)), key=lambda place: (-logits[place], place))]


@given(systems())
def test_records_are_those_of_ranked_lists(system: tuple[np.ndarray, np.ndarray, list[tuple[str, str]]]) -> None:
    verbs, nouns, true = system
    rows = references([[f"noun:{noun}", f"verb:{verb}"] for verb, noun in true])
    records = EPIC.records(predictions({"verb": verbs, "noun": nouns}, NAMES), rows)
    expected = []
    for verb_logits, noun_logits, (verb, noun) in zip(verbs, nouns, true, strict=True):
        v, n = ranked(verb_logits, NAMES["verb"]), ranked(noun_logits, NAMES["noun"])
        expected.append([v[0] == verb, verb in v[:5], n[0] == noun, noun in n[:5], v[0] == verb and n[0] == noun])
    np.testing.assert_array_equal(records, expected)
    weights = np.stack([np.ones(len(true)), np.arange(1, len(true) + 1)])
    scores = EPIC.aggregate(records, weights)
    assert list(scores) == ["verb_top1", "verb_top5", "noun_top1", "noun_top5", "joint_top1"]
    for place, values in enumerate(scores.values()):
        expected_values = [np.average(np.array(expected)[:, place], weights=row) for row in weights]
        np.testing.assert_allclose(values, expected_values)


def test_one_head_may_have_colons_in_its_names() -> None:
    names = {"class": ["ripping paper", "singing: choir", *"abcde"]}
    logits = np.array([[1, 3, 0, 0, 0, 0, 0], [0, 9, 8, 7, 6, 5, 4]], np.float32)
    rows = references([["singing: choir"], ["ripping paper"]])
    scorer = Scorer()
    records = scorer.records(predictions({"class": logits}, names), rows)
    assert records.tolist() == [[1, 1], [0, 0]]
    assert {name: value.tolist() for name, value in scorer.aggregate(records, np.array([[1, 1], [3, 1]])).items()} == {
        "top1": [0.5, 0.75],
        "top5": [0.5, 0.75],
    }


def test_joint_accuracy_is_at_most_that_of_each_head_and_not_their_product() -> None:
    verb = np.array([[2, 0, 0]] * 4, np.float32)
    noun = np.array([[2, *[0] * 7]] * 4, np.float32)
    rows = references([["verb:0", "noun:0"], ["verb:0", "noun:0"], ["verb:1", "noun:3"], ["verb:2", "noun:6"]])
    records = EPIC.records(predictions({"verb": verb, "noun": noun}, NAMES), rows)
    scores = EPIC.aggregate(records, np.ones((1, 4)))
    assert (scores["verb_top1"], scores["noun_top1"], scores["joint_top1"]) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["verb:1"], "clip clip0: needs one label for each of verb, noun"),
        (["verb:1", "verb:2", "noun:0"], "clip clip0: needs one label"),
        (["verb:1", "noun:0", "singing"], "clip clip0: needs one label"),
        (None, "clip clip0: needs one label"),
    ],
)
def test_a_clip_needs_one_label_for_each_head(labels: list[str] | None, message: str) -> None:
    table = predictions({"verb": np.zeros((1, 3), np.float32), "noun": np.zeros((1, 8), np.float32)}, NAMES)
    with pytest.raises(UserError, match=message):
        EPIC.records(table, references([labels]))


def test_a_logit_that_is_no_number_is_refused() -> None:
    logits = np.zeros((2, 3), np.float32)
    logits[1, 2] = np.nan
    table = predictions({"verb": logits, "noun": np.zeros((2, 8), np.float32)}, NAMES)
    with pytest.raises(UserError, match="clip clip1: a logit is not a finite number"):
        EPIC.records(table, references([["verb:0", "noun:0"]] * 2))


def test_predictions_of_other_heads_are_refused() -> None:
    table = predictions({"class": np.zeros((1, 2), np.float32)}, {"class": ["a", "b"]})
    with pytest.raises(UserError, match="the predictions have the heads class; 'heads' of the scoring has verb, noun"):
        EPIC.records(table, references([["verb:0", "noun:0"]]))


def test_a_job_scores_a_file_of_predictions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clips = 300
    true = [(str(rng.integers(3)), str(3 * rng.integers(8))) for _ in range(clips)]
    verb, noun = rng.normal(size=(clips, 3)).astype(np.float32), rng.normal(size=(clips, 8)).astype(np.float32)
    verb[np.arange(clips), [int(v) for v, _ in true]] += 1
    pq.write_table(predictions({"verb": verb, "noun": noun}, NAMES), tmp_path / "predictions.parquet")
    schema = pa.schema([("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string())), *STATE])
    rows = [
        {**row, "split": "test", "status": "ok"} for row in references([[f"verb:{v}", f"noun:{n}"] for v, n in true])
    ]
    write(tmp_path / "manifest.parquet", rows, schema)
    manifest, predicted = tmp_path / "manifest.parquet", [tmp_path / "predictions.parquet"]
    job = Score(family="top_k", settings=EPIC, manifest=manifest, predictions=predicted)
    job.run(*(tmp_path / f"{name}.parquet" for name in ("scores", "counts", "replicates")))
    found = {row["metric"]: row["value"] for row in pq.read_table(tmp_path / "scores.parquet").to_pylist()}
    right = verb.argmax(axis=1) == [int(v) for v, _ in true]
    joint = right & (3 * noun.argmax(axis=1) == [int(n) for _, n in true])
    assert found["verb_top1"] == pytest.approx(right.mean())
    assert found["joint_top1"] == pytest.approx(joint.mean())
    assert found["verb_top5"] == 1
    assert found["noun_top1"] < found["noun_top5"] < 1
