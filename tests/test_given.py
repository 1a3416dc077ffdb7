"""Predictions that somebody made elsewhere are a row of a table: captions, classes, what a run itself has written."""

import csv
import hashlib
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import training_files
from training_files import train_into

from workflow_scripts.errors import UserError
from workflow_scripts.scores.families import captioning, classification, top_k
from workflow_scripts.scores.plan import Score
from workflow_scripts.training.job import TrainingJob

ROOT = Path(__file__).parent.parent
CAPTIONS = {"a": ["a dog barks", "a dog is barking"], "b": ["rain falls on a roof", "it rains"], "c": ["a man speaks"]}
LABELS = {"a": "dog", "b": "rain", "c": "dog"}


def write_corpus(folder: Path) -> Path:
    """Three test clips and one to learn from, with captions and labels, and captions of two seeds beside them."""
    rows = [{"clip_id": clip, "split": "test", "labels": [LABELS[clip]], "captions": CAPTIONS[clip]} for clip in "abc"]
    rows.append({"clip_id": "t", "split": "train", "labels": ["dog"], "captions": ["a bell"]})
    pq.write_table(pa.Table.from_pylist(rows), folder / "manifest.parquet")
    said = [f"{clip},{seed},A dog {'barks' if seed else 'runs'}\n" for clip in "abct" for seed in (0, 1)]
    (folder / "captions.csv").write_text("clip_id,seed,caption\n" + "".join(said))
    return folder


def job_of(corpus: Path, folder: Path, seeds: tuple[int, ...] = (0, 1), **settings: Any) -> TrainingJob:
    given = {"manifest": corpus / "manifest.parquet", "clip_seconds": 1.0, "seeds": list(seeds)}
    given |= {"checkpoints": folder / "checkpoints"}
    return training_files.job_of("given", {"file": str(corpus / "captions.csv")}, given, settings)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path)


def scored(corpus: Path, family: Any, seeds: tuple[int, ...] = (0,), **settings: Any) -> dict[tuple[int, str], float]:
    """The scores of each seed on the test clips, after all steps that a run of the workflow takes."""
    train_into(corpus / "out", job_of(corpus, corpus, seeds, **settings))
    outputs = [corpus / name for name in ("scores.parquet", "counts.parquet", "replicates.parquet")]
    name = family.__name__.rpartition(".")[2]
    predictions = [corpus / "out" / "predictions.parquet"]
    Score(
        family=name, settings=family.Scorer(), manifest=corpus / "manifest.parquet", predictions=predictions,
        replicates=100,
    ).run(*outputs)  # fmt: skip
    return {(row["seed"], row["metric"]): row["value"] for row in pq.read_table(outputs[0]).to_pylist()}


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_captions_are_scored_as_any_systems(corpus: Path, suffix: str) -> None:
    file = corpus / f"mine{suffix}"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened, delimiter="\t" if suffix == ".tsv" else ",")
        writer.writerows([("clip_id", "caption"), *((clip, said[0].upper()) for clip, said in CAPTIONS.items())])
    found = scored(corpus, captioning, file=str(file))
    assert found[0, "bleu_1"] == pytest.approx(1) and found[0, "rouge_l"] == pytest.approx(1)
    both = scored(corpus, captioning, (0, 1))
    assert both[0, "bleu_1"] != both[1, "bleu_1"] and both[1, "bleu_1"] < 1


def test_classes_are_scored_as_any_systems(corpus: Path) -> None:
    (corpus / "mine.csv").write_text("clip_id,dog,rain\na,0.8,0.2\nb,0.75,0.25\nc,1,0\n")
    found = scored(corpus, classification, file=str(corpus / "mine.csv"), numbers="probabilities")
    assert found[0, "accuracy"] == pytest.approx(2 / 3)
    assert found[0, "loss"] == pytest.approx(-(math.log(0.8) + math.log(0.25)) / 3)
    assert scored(corpus, top_k, file=str(corpus / "mine.csv"))[0, "top1"] == pytest.approx(2 / 3)


def test_what_a_run_has_written_is_taken_as_it_is(corpus: Path) -> None:
    """Logits and captions go through this door alike, with the metadata that tells the classes."""
    (corpus / "mine.csv").write_text("clip_id,dog,rain\na,2,-1\nb,0.5,1\nc,1,0\n")
    first = scored(corpus, classification, file=str(corpus / "mine.csv"))
    before = pq.read_table(corpus / "out" / "predictions.parquet")
    shutil.copy(corpus / "out" / "predictions.parquet", corpus / "again.parquet")
    assert scored(corpus, classification, file=str(corpus / "again.parquet")) == first
    assert pq.read_table(corpus / "out" / "predictions.parquet").equals(before)


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        ("clip_id,caption\nx,a dog\n", {}, "the corpus has no clip 'x'"),
        ("clip_id,caption\na,a dog\na,a cat\n", {}, "the clip 'a' is predicted twice; give it one row a seed"),
        ("clip_id,caption\na,a dog\n", {"seeds": [0, 1]}, r"has no seed 1 \(found: 0\); set the experiment's `seeds`"),
        ("clip_id,caption\nt,a dog\n", {}, "predicts no clip of test with seed 0"),
        ("clip_id,words\na,a dog\n", {}, "has neither a column 'caption' nor a column for each class"),
        ("clip_id,dog,rain\na,1,no\n", {}, "line 2: 'rain' is 'no', and should be a number"),
        ("clip_id,dog,rain\na,1,3\n", {"numbers": "probabilities"}, "line 2: probabilities lie between 0 and 1"),
        ("clip_id,seed,caption\na,-1,a dog\n", {}, "line 2: the seed is '-1', and should be a whole number"),
        ("file,caption\na,a dog\n", {}, "clip_id"),
    ],
)
def test_predictions_that_cannot_be_scored_are_told(
    corpus: Path, text: str, settings: dict[str, Any], said: str
) -> None:
    (corpus / "mine.csv").write_text(text)
    with pytest.raises(UserError, match=said):
        train_into(corpus / "out", job_of(corpus, corpus, file=str(corpus / "mine.csv"), **{"seeds": (0,), **settings}))
    with pytest.raises(UserError, match=r"predictions are .csv, .tsv, .parquet"):
        job_of(corpus, corpus, file="mine.txt")


def test_a_row_of_a_table_with_a_paired_difference(tmp_path: Path) -> None:
    """By the rules: predictions of a file beside a network; they are made again when the file changes."""
    shutil.copytree(ROOT / "examples" / "chirps" / "papers", tmp_path / "papers")
    shutil.copy(ROOT / "examples" / "chirps" / "corpora.local.yaml", tmp_path)
    rng, clips = np.random.default_rng(0), []
    for number in range(10):
        for place, label in enumerate(("falling", "rising", "steady")):
            path = f"{label}/{number}.flac"
            (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
            soundfile.write(tmp_path / "data" / path, 0.1 * rng.standard_normal(32_000), 16_000)
            clips.append((path, place))
    paper = tmp_path / "papers" / "chirps" / "paper.yaml"
    text = paper.read_text().replace(
        "tables:\n",
        """  mine:
    corpus: tones
    system: given
    settings: {file: data/mine.csv}
    metrics: top_k
    seeds: 1
    cost: {gpus: 0, minutes: 1}

tables:
""",
    )
    text = text.replace("rows: [", "rows: [{label: Mine, experiment: mine}, ")
    text += """    cells:
      - kind: difference
        row: Mine - ResNet
        column: Top-1
        left: {experiment: mine, metric: top1}
        right: {experiment: resnet, metric: top1}
"""
    paper.write_text(text)

    def made(target: str) -> None:
        command = ["snakemake", "-s", ROOT / "Snakefile", "--directory", tmp_path, "--cores", "2", target]
        line = [sys.executable, "-m", *command, "--config", 'papers_path=["papers"]']
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    made("work/smoke/corpora/chirps/manifest.parquet")
    manifest = pq.read_table(tmp_path / "work/smoke/corpora/chirps/manifest.parquet").to_pylist()
    tested = [row for row in manifest if row["split"] == "test"]
    lines = [[row["clip_id"], *(int(row["labels"][0] == name) for name in ("falling", "rising", "steady"))]
             for row in tested]  # fmt: skip
    wrong = sorted(lines, key=lambda line: hashlib.md5(line[0].encode(), usedforsecurity=False).digest())[0]
    wrong[1:] = [*wrong[2:], wrong[1]]  # another class
    with (tmp_path / "data" / "mine.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["clip_id", "falling", "rising", "steady"], *lines])
    made("results/smoke/chirps/table1.csv")
    with (tmp_path / "results/smoke/chirps/table1.csv").open(newline="") as file:
        cells = {line["row"]: line for line in csv.DictReader(file)}
    share = 100 * (len(tested) - 1) / len(tested)
    assert float(cells["Mine"]["measured"]) == pytest.approx(share, abs=0.01) and cells["Mine"]["seeds"] == "1"
    difference = float(cells["Mine"]["measured"]) - float(cells["ResNet"]["measured"])
    assert float(cells["Mine - ResNet"]["measured"]) == pytest.approx(difference, abs=0.02)
    assert cells["Mine - ResNet"]["items"] == str(len(tested)) and cells["Mine - ResNet"]["ci_low"]
