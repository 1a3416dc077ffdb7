"""Captions scored by the command, and by the family of the pipeline with its records."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workflow_scripts.errors import UserError
from workflow_scripts.metrics import bootstrap
from workflow_scripts.metrics.captions import METRICS
from workflow_scripts.scores import captions
from workflow_scripts.scores.families.captioning import Scorer
from workflow_scripts.scores.plan import Score
from workflow_scripts.scores.replicates import Replicated
from workflow_scripts.shards import Row, write

REFERENCES = [
    ("Dogs, loud.wav", "A dog barks, then a man speaks"),
    ("b", "Rain falls on a tin roof"),
    ("Dogs, loud.wav", 'A "dog" is barking\nand somebody talks'),
    ("b", "It is raining"),
    ("ünïcode", "A bell rings in a café"),
    ("ünïcode", "Ringing of a bell"),
]
PREDICTIONS = [
    ("b", "rain falls after\nthunder"),
    ("ünïcode", ""),
    ("Dogs, loud.wav", 'a "dog" barks, then a man speaks'),
]


def table(path: Path, rows: Sequence[tuple[str, ...]], header: tuple[str, ...] = captions.COLUMNS) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def scored(folder: Path, references: Any = REFERENCES, predictions: Any = PREDICTIONS, **options: Any) -> Row:
    """What the command writes about two tables."""
    files = table(folder / "references.csv", references), table(folder / "predictions.csv", predictions)
    captions.main(*files, **{"output": folder / "scores.json", **options})
    return json.loads((folder / "scores.json").read_text())


def test_all_scores_of_two_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Commas, quotes, line breaks and letters beyond ASCII in either column, and an empty prediction."""
    with caplog.at_level("INFO"):
        found = scored(tmp_path)
    assert list(found) == list(METRICS)
    assert found["spice"] is None and found["spider"] is None and "--spice-jars" in caplog.text
    assert found["fense"] is None and found["spider_fl"] is None
    assert all(0 < found[name] < 1 for name in METRICS[: METRICS.index("cider_d")])
    assert (found["order_recall"], found["order_precision"]) == (1, 1)
    assert 0 < found["cider_d"] < 10
    assert (found["acc_temp"], found["f1_temp"]) == pytest.approx((2 / 3, 2 / 3))


def test_the_command_prints_scores_and_mistakes(tmp_path: Path) -> None:
    paths = table(tmp_path / "references.csv", REFERENCES), table(tmp_path / "predictions.csv", PREDICTIONS)
    command = [sys.executable, "-m", "workflow_scripts.scores", "captions"]
    command += ["--references", str(paths[0]), "--predictions", str(paths[1]), "--metrics"]
    environment = {**os.environ, "LC_ALL": "C"}
    call = [*command, "rouge_l,cider_d"]
    result = subprocess.run(call, capture_output=True, text=True, check=True, env=environment)
    assert json.loads(result.stdout) == scored(tmp_path, metrics=["rouge_l", "cider_d"])
    result = subprocess.run([*command, "rouge_1"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "error: --metrics: there is no metric 'rouge_1'; did you mean 'rouge_l'?\n"


def test_metrics_are_chosen_by_name(tmp_path: Path) -> None:
    assert list(scored(tmp_path, metrics=["spider,f1_temp", "bleu_4"])) == ["bleu_4", "spider", "f1_temp"]


def test_a_single_clip_is_told_that_it_has_no_cider(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        found = scored(tmp_path, [("a", "a dog")], [("a", "a dog")], metrics=["cider_d,rouge_l"])
    assert found == {"rouge_l": 1.0, "cider_d": 0.0}
    assert "it needs at least two clips" in caplog.text


@pytest.mark.parametrize(
    ("references", "predictions", "sentence"),
    [
        (REFERENCES, PREDICTIONS[:1], "predictions.csv: the clip 'Dogs, loud.wav' of"),
        (REFERENCES[:1], PREDICTIONS, "references.csv: the clip 'b' of"),
        (REFERENCES, [*PREDICTIONS, ("b", "rain")], "predictions.csv: the clip 'b' is predicted 2 times; give it one"),
        ([*REFERENCES, ("b", " ")], PREDICTIONS, "references.csv: a reference caption of the clip 'b' is empty"),
        ([*REFERENCES, ("", "x")], PREDICTIONS, "references.csv, line 9: the clip_id is missing"),
        (REFERENCES, [("a", "b", "c")], "predictions.csv, line 2: the row is longer or shorter than the header"),
        (REFERENCES, [("a",)], "predictions.csv, line 2: the row is longer or shorter than the header"),
        (REFERENCES, [], "predictions.csv: holds no clip"),
        ([("a", "...")], [("a", "x")], "no reference caption holds a word"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path: Path, references: Any, predictions: Any, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        scored(tmp_path, references, predictions, metrics=["cider_d"])
    assert sentence in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "scores.json").exists()


def test_files_that_are_no_tables_of_captions(tmp_path: Path) -> None:
    good = table(tmp_path / "good.csv", PREDICTIONS)
    path = table(tmp_path / "bad.csv", PREDICTIONS, ("clip", "caption"))
    with pytest.raises(UserError, match=r"bad\.csv: the column 'clip_id' is missing; did you mean 'clip'\?"):
        captions.main(path, good)
    said = {b"clip_id,caption\na,\xff\n": "in UTF-8", b'clip_id,caption\na,"no end\nb,c\n': "a quote opened there"}
    for content, why in said.items():
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"bad\.csv(, line 2)?: cannot be read as CSV .*{why}"):
            captions.main(good, path)
    with pytest.raises(UserError, match="cannot be read"):
        captions.main(tmp_path / "none.csv", good)


def files(folder: Path) -> tuple[Path, Path, list[list[str]], list[list[str]]]:
    """A manifest and predictions of two seeds, with the references and each seed's captions in them."""
    words = ["a", "dog", "barks", "then", "rain", "falls", "after", "the", "bell", "rings", "in", "wind"]
    random = np.random.default_rng(2)

    def caption() -> str:
        return " ".join(random.choice(words, size=random.integers(4, 9)))

    references = [[caption() for _ in range(3)] for _ in range(8)]
    found = [[caption() for _ in range(8)] for _ in range(2)]
    found[1][3] = ""
    text = pa.string()
    schema = pa.schema([("clip_id", text), ("split", text), ("captions", pa.list_(text))])
    rows: list[Row] = [{"clip_id": f"c{n}", "split": "test", "captions": many} for n, many in enumerate(references)]
    write(folder / "manifest.parquet", rows, schema)
    schema = pa.schema([("seed", pa.int32()), ("clip_id", text), ("split", text), ("caption", text)])
    rows = [
        {"seed": seed, "clip_id": f"c{n}", "split": "test", "caption": found[seed][n]}
        for n in reversed(range(8))
        for seed in (0, 1)
    ]
    write(folder / "predictions.parquet", rows, schema)
    return folder / "manifest.parquet", folder / "predictions.parquet", references, found


def test_the_pipeline_scores_as_the_command_does(tmp_path: Path) -> None:
    manifest, predictions, references, found = files(tmp_path)
    job = Score(family="captioning", settings=Scorer(), manifest=manifest, predictions=[predictions])
    job.run(*(tmp_path / f"{name}.parquet" for name in ("scores", "counts", "replicates")))
    rows = pq.read_table(tmp_path / "scores.parquet").to_pylist()
    pairs = [(f"c{n}", caption) for n, many in enumerate(references) for caption in many]
    for seed in (0, 1):
        expected = scored(tmp_path, pairs, [(f"c{n}", caption) for n, caption in enumerate(found[seed])])
        values = {row["metric"]: row["value"] for row in rows if row["seed"] == seed}
        nothing = {name for name in values if np.isnan(values[name])}
        assert nothing == {name for name, value in expected.items() if value is None}
        assert nothing >= {"spice", "spider", "fense", "spider_fl"}
        values = {name: value for name, value in values.items() if name not in nothing}
        assert values == pytest.approx({name: value for name, value in expected.items() if value is not None})

    weights = bootstrap.clip_weights(8, 1000, "test")
    resampled = Replicated.load(tmp_path / "replicates.parquet").scores["test"]
    drawn = np.repeat(np.arange(8), weights[4]).tolist()
    pairs = [(f"r{place}", caption) for place, n in enumerate(drawn) for caption in references[n]]
    repeated = [(f"r{place}", found[1][n]) for place, n in enumerate(drawn)]
    names = ["bleu_1", "bleu_4", "rouge_l", "meteor", "acc_temp", "f1_temp"]
    expected = scored(tmp_path, pairs, repeated, metrics=names)
    assert {name: resampled[name][1][1, 4] for name in names} == pytest.approx(expected)


def test_what_the_manifest_must_have(tmp_path: Path) -> None:
    manifest, predictions, _, _ = files(tmp_path)
    rows, one = pq.read_table(manifest).to_pylist()[:1], pq.read_table(predictions).slice(0, 1)
    for wrong in (None, [], ["a dog", " "]):
        with pytest.raises(UserError, match="clip c0: needs reference captions to be scored"):
            Scorer().records(one, [{**rows[0], "captions": wrong}])
    without = one.set_column(3, "caption", pa.array([None], pa.string()))
    with pytest.raises(UserError, match="clip c0: has no predicted caption"):
        Scorer().records(without, rows)
