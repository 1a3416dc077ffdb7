"""Training of classifiers with early stopping, on a toy corpus, and the scores of their predictions."""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import training_files
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, log_loss
from training_files import command, first_run, shards_in, train_into

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.scores.families.classification import Scorer
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.outputs import logit_schema
from workflow_scripts.training.systems.classifier import System

CLASSES = ["zero", "one", "two"]
SPLITS = {"train": 90, "validation": 30, "test": 30}
TOY: dict[str, Any] = {
    "classes": CLASSES,
    "kind": "multimodal",
    "fusion": "concatenation",
    "sizes": {"image_channels": [4, 8], "audio_channels": [4, 4], "inner": 16, "head": 8, "dropout": 0.1},
    "optimisation": {"batch": 16, "learning_rate": 3e-3, "max_epochs": 3},
    "record_every": 4,
}
SMALL_INCEPTION = {"depth": 3, "filters": 2, "kernels": [5, 3], "downsample": 2}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def write_corpus(folder: Path) -> Path:
    """Pictures with a bright band, and sounds with a burst, at the class's place; in two shards; labels of test too."""
    noise = np.random.default_rng(3)
    manifest, images, sounds = [], [], []
    for split, count in SPLITS.items():
        for number in range(count):
            clip_id, label = f"{split}-{number}", number % 3
            image, sound = noise.normal(0, 0.5, (16, 16)), noise.normal(0, 0.5, (1, 320))
            image[2 + 4 * label : 5 + 4 * label] += 1
            sound[0, 100 * label : 100 * label + 60] += np.sin(np.arange(60))
            manifest.append({"clip_id": clip_id, "split": split, "labels": [CLASSES[label]]})
            bad = clip_id == "train-5"
            state = {"clip_id": clip_id, "seconds": 1.0, "status": "failed" if bad else "ok"}
            images.append(state | {"features": None if bad else image})
            sounds.append(state | {"status": "ok", "features": sound})
    pq.write_table(pa.Table.from_pylist(manifest), folder / "manifest.parquet")
    for name, rows, shape in (("image", images, [16, 16]), ("audio", sounds, [1, 320])):
        field = shards.array_field("features", "float16", shape)
        columns = [pa.field("clip_id", pa.string()), pa.field("seconds", pa.float64()), field, *shards.STATE]
        for part in range(2):
            packed = [
                row | {"features": None if row["features"] is None else shards.pack(row["features"], field)}
                for row in rows
                if shards.shard_of(row["clip_id"], 2) == part
            ]
            shards.write(folder / name / f"{part}.parquet", packed, pa.schema(columns), rows_a_group=16)
    return folder


def job_of(corpus: Path, folder: Path, seeds: list[int], **changes: Any) -> TrainingJob:
    given = {
        "manifest": corpus / "manifest.parquet",
        "features": {name: shards_in(corpus / name) for name in ("image", "audio")},
        "clip_seconds": 1.0,
        "seeds": seeds,
        "checkpoints": folder / "checkpoints",
    }
    return training_files.job_of("classifier", TOY, given, changes)


def train(corpus: Path, folder: Path, seeds: list[int], **changes: Any) -> Path:
    train_into(folder, job_of(corpus, folder, seeds, **changes))
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("digits"))


def scores(corpus: Path, folder: Path, split: str, seed: int = 0) -> dict[str, float]:
    """What the scorer says about the predictions of one seed."""
    table = pq.read_table(folder / "predictions.parquet")
    table = table.filter((pa.compute.field("split") == split) & (pa.compute.field("seed") == seed))
    manifest = {row["clip_id"]: row for row in pq.read_table(corpus / "manifest.parquet").to_pylist()}
    scorer = Scorer()
    records = scorer.records(table, [manifest[clip_id] for clip_id in table["clip_id"].to_pylist()])
    return {name: value[0] for name, value in scorer.aggregate(records, np.ones((1, len(records)))).items()}


# Whole jobs


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy job of seeds 0 and 1, run once by the command."""
    folder = tmp_path_factory.mktemp("trained")
    subprocess.run(command(job_of(corpus, folder, [0, 1]), folder), check=True)
    return folder


def test_files_of_a_job(trained: Path) -> None:
    table = pq.read_table(trained / "predictions.parquet")
    assert json.loads(table.schema.metadata[b"classes"]) == CLASSES
    logits = shards.stack(table, "logits")
    assert logits.shape == (2 * 65, 3) and logits.dtype == np.float32 and np.isfinite(logits).all()
    splits = table["split"].to_pylist()
    assert [splits.count(split) for split in SPLITS] == [10, 60, 60]
    rows = table.to_pylist()
    chosen = [[row["clip_id"] for row in rows if row["split"] == "train" and row["seed"] == seed] for seed in (0, 1)]
    assert chosen[0] == chosen[1] and len(set(chosen[0])) == 5
    params = json.loads((trained / "params.json").read_text())
    assert params["clips"] == SPLITS | {"train": 89} and params["left_out"] == {"train": 1}
    weights = load_file(trained / "weights.safetensors")
    assert params["parameters"] == sum(value.numel() for key, value in weights.items() if key.startswith("0/"))


def test_history_of_a_job(trained: Path) -> None:
    history = [row for row in pq.read_table(trained / "history.parquet").to_pylist() if row["seed"] == 0]
    assert [(row["step"], row["epoch"]) for row in history] == [
        (4, 1), (6, 1), (8, 2), (12, 2), (16, 3), (18, 3)
    ]  # fmt: skip
    assert all(math.isfinite(row["loss"]) for row in history)
    ends = [row for row in history if row["validation_loss"] is not None]
    assert [row["step"] for row in ends] == [6, 12, 18]
    assert [row["best"] for row in ends] == [float(r is min(ends, key=lambda e: e["validation_loss"])) for r in ends]
    assert all(row["best"] is None and row["validation_accuracy"] is None for row in history if row not in ends)


def test_early_stopping_keeps_the_best_weights(corpus: Path, tmp_path: Path) -> None:
    """At this rate the validation loss soon rises; the kept weights are those of its minimum, two epochs before."""
    rate = {"learning_rate": 0.05, "max_epochs": 40, "patience": 2}
    train(corpus, tmp_path, [0], kind="image", fusion=None, optimisation=rate)
    history = pq.read_table(tmp_path / "history.parquet").to_pylist()
    losses = [row["validation_loss"] for row in history if row["validation_loss"] is not None]
    best = [row for row in history if row["best"] == 1]
    assert len(best) == 1 and best[0]["validation_loss"] == min(losses)
    assert json.loads((tmp_path / "params.json").read_text())["best_epoch"] == {"0": best[0]["epoch"]}
    assert len(losses) == best[0]["epoch"] + 2 < 40 and losses[-1] > min(losses)
    found = scores(corpus, tmp_path, "validation")
    assert found["loss"] == pytest.approx(best[0]["validation_loss"], rel=1e-5)
    assert found["accuracy"] == best[0]["validation_accuracy"]


@pytest.mark.parametrize(
    ("kind", "fusion"),
    [("image", None), ("audio", None), ("multimodal", "addition"), ("multimodal", "factorized_bilinear")],
)
def test_it_learns(corpus: Path, tmp_path: Path, kind: str, fusion: str | None) -> None:
    folder = train(corpus, tmp_path, [0], kind=kind, fusion=fusion, optimisation={"max_epochs": 15})
    assert scores(corpus, folder, "test")["accuracy"] > 0.85  # chance is 1/3


def test_a_loss_that_is_no_number_names_run_and_step(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"seed 0, step 4: the loss is (nan|inf); lower the learning rate"):
        train(corpus, tmp_path / "broken", [0], optimisation={"learning_rate": 1e30})


@pytest.mark.parametrize(
    ("clip", "labels", "message"),
    [
        (0, None, "clip 'train-0': needs one label to learn from, has None"),
        (95, ["one", "two"], r"clip 'validation-5': needs one label to learn from, has \['one', 'two'\]"),
        (0, ["tow"], "clip 'train-0': the label 'tow' is not among the classes; did you mean 'two'"),
    ],
)
def test_training_clips_need_one_label(
    corpus: Path, tmp_path: Path, clip: int, labels: list[str] | None, message: str
) -> None:
    rows = pq.read_table(corpus / "manifest.parquet").to_pylist()
    rows[clip]["labels"] = labels
    for row in rows[120:]:
        row["labels"] = None  # those of the test clips may be withheld
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "manifest.parquet")
    with pytest.raises(UserError, match=message):
        train(corpus, tmp_path, [0], manifest=tmp_path / "manifest.parquet")


def test_features_of_another_shape_are_refused(corpus: Path, tmp_path: Path) -> None:
    features = {"image": shards_in(corpus / "audio")}
    with pytest.raises(UserError, match=r"'image' has clips of shape \(1, 320\), expected square pictures"):
        train(corpus, tmp_path, [0], kind="image", fusion=None, features=features)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_number_formats_on_the_cpu(corpus: Path, tmp_path: Path, precision: str) -> None:
    train(corpus, tmp_path, [0], precision=precision, optimisation={"max_epochs": 1})
    assert scores(corpus, tmp_path, "test")["loss"] == pytest.approx(math.log(3), abs=0.3)


# Full-size steps

MODELS = [("image", None), ("audio", None), ("multimodal", "concatenation"), ("multimodal", "attention")]


def paper_step(corpus: Path, folder: Path, kind: str, fusion: str | None, device: str, precision: str) -> float:
    """The loss of the first step of a full-size network, without dropout, on four clips."""
    settings = {"classes": list("0123456789"), "kind": kind, "fusion": fusion, "sizes": {"dropout": 0}}
    with pytest.MonkeyPatch.context() as patch:
        build = System.build
        patch.setattr(System, "build", lambda *_: build(System.check(settings, "x"), {}))
        run = first_run(job_of(corpus, folder, [0], device=device, precision=precision))
    clips = {"image": torch.randn(4, 28, 28).to(device), "audio": torch.randn(4, 1, 8000).to(device)}
    before = [parameter.detach().clone() for parameter in run.network.parameters()]
    run.step(clips, torch.tensor([1, 2, 3, 4], device=device))
    changed = [not torch.equal(old, new) for old, new in zip(before, run.network.parameters(), strict=True)]
    unused = 4 if kind == "multimodal" else 0  # the single networks' own output layers
    assert changed.count(False) <= unused
    return run.loss.item()


@pytest.mark.parametrize(("kind", "fusion"), MODELS)
def test_a_full_size_step(corpus: Path, tmp_path: Path, kind: str, fusion: str | None) -> None:
    assert paper_step(corpus, tmp_path, kind, fusion, "cpu", "32-true") == pytest.approx(math.log(10), abs=0.5)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize(("kind", "fusion"), [*MODELS, ("audio_inception_time", None)])
def test_a_step_on_cuda(corpus: Path, tmp_path: Path, kind: str, fusion: str | None, precision: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    single = paper_step(corpus, tmp_path, kind, fusion, "cpu", "32-true")
    assert paper_step(corpus, tmp_path, kind, fusion, "cuda", precision) == pytest.approx(single, rel=0.1)


# Scores


def predictions(logits: np.ndarray) -> pa.Table:
    schema = logit_schema(CLASSES)
    rows = [
        {"seed": 0, "clip_id": str(n), "split": "test", "logits": shards.pack(values, schema.field("logits"))}
        for n, values in enumerate(logits)
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def references(true: np.ndarray) -> list[dict[str, Any]]:
    return [{"clip_id": str(n), "labels": [CLASSES[label]]} for n, label in enumerate(true)]


@given(
    st.integers(1, 40),
    st.integers(0, 1000),
    st.sampled_from([0.1, 1.0, 4.0]),  # scikit-learn clips smaller probabilities
)
def test_scores_are_those_of_scikit_learn(clips: int, seed: int, scale: float) -> None:
    noise = np.random.default_rng(seed)
    logits, true = noise.normal(0, scale, (clips, 3)).astype(np.float32), noise.integers(0, 3, clips)
    records = Scorer().records(predictions(logits), references(true))
    assert records.shape == (clips, 2)
    weights = np.stack([np.ones(clips), noise.integers(1, 4, clips)])
    found = Scorer().aggregate(records, weights)
    exponentials = np.exp(logits.astype(float))
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    for replicate, weight in enumerate(weights):
        accuracy = accuracy_score(true, logits.argmax(1), sample_weight=weight)
        loss = log_loss(true, probabilities, labels=[0, 1, 2], sample_weight=weight)
        assert found["accuracy"][replicate] == pytest.approx(accuracy)
        assert found["loss"][replicate] == pytest.approx(loss, rel=1e-9, abs=1e-9)


def test_a_confident_mistake_has_a_finite_loss() -> None:
    records = Scorer().records(predictions(np.array([[2000.0, 0, 0]])), references(np.array([1])))
    assert records.tolist() == [[2000, 0]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "clip 0: needs one label to be scored, has None"),
        (["zero", "one"], "clip 0: needs one label to be scored"),
        (["on"], "clip 0: its label 'on' is not a class; did you mean 'one'"),
    ],
)
def test_unusable_references(labels: list[str] | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Scorer().records(predictions(np.zeros((1, 3))), [{"clip_id": "0", "labels": labels}])


def test_binomial_error_of_the_papers_table() -> None:
    """The published ranking of fusions rests on one seed: 94 % of 5,859 clips have a standard error of .31 points."""
    right = np.arange(5859) < 0.94 * 5859
    records = np.stack([np.zeros(5859), right], axis=1)
    weights = np.random.default_rng(0).multinomial(5859, np.full(5859, 1 / 5859), 1000)
    error = 100 * Scorer().aggregate(records, weights)["accuracy"].std()
    assert 100 * math.sqrt(0.94 * 0.06 / 5859) == pytest.approx(0.31, abs=0.001)
    assert error == pytest.approx(0.31, rel=0.1)
