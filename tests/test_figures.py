"""Figures from made-up files of a training job."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from workflow_scripts.errors import UserError
from workflow_scripts.figures.kinds import confusion
from workflow_scripts.figures.plan import DrawFigure
from workflow_scripts.settings.plugins import FIGURES, plugin
from workflow_scripts.shards import STATE, array_field, pack, write
from workflow_scripts.training.outputs import write_history

CLASSES = [str(digit) for digit in range(10)]
CLIPS = 200
STEPS = 40  # in an epoch
RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 10, CLIPS)
LOGITS = RNG.normal(0, 2, (2, CLIPS, 10)).astype(np.float32)  # of two seeds
LOGITS[:, np.arange(CLIPS), TRUE] += 5
PICTURES = RNG.choice([-1, 0, 1], (CLIPS, 28, 28)).astype(np.float16)
SOUNDS = (RNG.normal(0, 1, (CLIPS, 1, 8000)) * np.hanning(8000)).astype(np.float16)


def clip_id(number: int) -> str:
    return f"test-{number:05}"


def history(path: Path) -> Path:
    """Losses of 12 epochs; the weights of epoch 7 are kept."""
    rows: list[dict[str, Any]] = []
    for step in range(1, 12 * STEPS + 1):
        loss = 2.3 * np.exp(-step / 120) + 0.3 + RNG.normal(0, 0.1)
        rows.append({"seed": 0, "step": step, "epoch": 1 + (step - 1) // STEPS, "loss": loss})
    for epoch in range(1, 13):
        value = 0.6 + (epoch - 7) ** 2 / 40
        score = {"validation_loss": value, "validation_accuracy": 1 - value / 3, "best": float(epoch == 7)}
        rows.append({"seed": 0, "step": epoch * STEPS, "epoch": epoch, **score})
    write_history(path, rows)
    return path


def predictions(path: Path) -> Path:
    """The logits of two seeds for the clips of the test split."""
    field = array_field("logits", "float32", [10])
    schema = pa.schema(
        [("seed", pa.int32()), ("clip_id", pa.string()), ("split", pa.string()), field],
        metadata={"classes": json.dumps(CLASSES)},
    )
    rows = [
        {"seed": seed, "clip_id": clip_id(n), "split": "test", "logits": pack(LOGITS[seed, n], field)}
        for seed in (0, 1)
        for n in reversed(range(CLIPS))
    ]
    write(path, rows, schema)
    return path


def manifest(path: Path) -> Path:
    schema = pa.schema([("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string()))])
    rows = [{"clip_id": clip_id(n), "split": "test", "labels": [CLASSES[TRUE[n]]]} for n in range(CLIPS)]
    write(path, rows, schema)
    return path


def features(folder: Path, values: np.ndarray) -> Path:
    """Two shards of features, with a clip that failed."""
    field = array_field("features", "float16", values.shape[1:])
    schema = pa.schema([pa.field("clip_id", pa.string()), field, *STATE])
    rows: list[dict[str, Any]] = [
        {"clip_id": clip_id(n), "features": pack(values[n], field), "status": "ok"} for n in range(CLIPS)
    ]
    rows.append({"clip_id": "broken", "status": "failed", "reason": "decode_error"})
    write(folder / "0.parquet", rows[::2], schema)
    write(folder / "1.parquet", rows[1::2], schema)
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a run: history, predictions, manifest, and two streams of features."""
    folder = tmp_path_factory.mktemp("run")
    history(folder / "history.parquet")
    predictions(folder / "predictions.parquet")
    manifest(folder / "manifest.parquet")
    features(folder / "image", PICTURES)
    features(folder / "audio", SOUNDS)
    return folder


def figure(kind: str, settings: dict[str, Any], **files: Any) -> DrawFigure:
    """The job of a figure."""
    chosen = plugin(FIGURES, kind, "kind").check(settings, "settings")
    return DrawFigure(kind=kind, settings=chosen, title="Figure 1: made up", note="scale test", **files)


def drawn(run: Path, folder: Path, kind: str, definition: dict[str, Any], seed: int = 0) -> pd.DataFrame:
    """The numbers of a figure that is drawn into `folder`."""
    job = figure(
        kind, definition, seed=seed, history=run / "history.parquet", predictions=run / "predictions.parquet",
        manifest=run / "manifest.parquet",
        features={stream: sorted((run / stream).iterdir()) for stream in ("image", "audio")},
    )  # fmt: skip
    job.run(*(folder / f"figure.{ending}" for ending in ("png", "svg", "csv")))
    return pd.read_csv(folder / "figure.csv", dtype={"true": str, "predicted": str})


KINDS: Sequence[tuple[str, dict[str, Any]]] = [
    ("curves", {}),
    ("confusion", {}),
    ("samples", {"feature": "image", "show": "picture"}),
    ("samples", {"feature": "audio", "show": "waveform"}),
]


@pytest.mark.parametrize(("kind", "definition"), KINDS)
def test_the_same_input_gives_the_same_files(
    run_folder: Path, tmp_path: Path, kind: str, definition: dict[str, Any]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        drawn(run_folder, folder, kind, definition)
    for name, start in {"figure.png": b"\x89PNG", "figure.svg": b"<?xml", "figure.csv": b""}.items():
        content = (first / name).read_bytes()
        assert content.startswith(start)
        assert content == (second / name).read_bytes()
        assert len(content) > 500
    assert b"dc:date" not in (first / "figure.svg").read_bytes()


def test_curves_hold_the_history(run_folder: Path, tmp_path: Path) -> None:
    data = drawn(run_folder, tmp_path, "curves", {})
    recorded = pd.read_parquet(run_folder / "history.parquet")
    for column, quantity in {"loss": "training loss", "validation_accuracy": "validation accuracy"}.items():
        expected = recorded[recorded[column].notna()].sort_values("step")
        found = data[data["quantity"] == quantity]
        assert found["step"].tolist() == expected["step"].tolist()
        np.testing.assert_allclose(found["value"], expected[column], rtol=1e-6)
    assert set(data.loc[data["best"] == 1, "epoch"]) == {7}
    assert len(data[data["quantity"] == "validation loss"]) == 12


@pytest.mark.parametrize("seed", [0, 1])
def test_confusion_counts_the_clips(run_folder: Path, tmp_path: Path, seed: int) -> None:
    data = drawn(run_folder, tmp_path, "confusion", {}, seed)
    expected = np.zeros((10, 10), int)
    np.add.at(expected, (TRUE, LOGITS[seed].argmax(1)), 1)
    assert (data["count"].to_numpy().reshape(10, 10) == expected).all()
    assert data["true"].tolist()[::10] == CLASSES and data["predicted"].tolist()[:10] == CLASSES


def test_confusion_names_the_pairs() -> None:
    counts = np.array([[50, 1, 4], [6, 40, 0], [3, 2, 30]])
    text = confusion.summary(counts, ["a", "b", "c"], 2)
    assert text == "120 of 136 clips right: 88.2 %\nmost confused: a and b (7), a and c (7)"
    assert confusion.summary(np.diag([3, 4]), ["a", "b"], 3) == "7 of 7 clips right: 100.0 %"


@pytest.mark.parametrize(("stream", "show", "signals"), [("image", "picture", PICTURES), ("audio", "waveform", SOUNDS)])
def test_samples_hold_signals_and_logits(
    run_folder: Path, tmp_path: Path, stream: str, show: str, signals: np.ndarray
) -> None:
    data = drawn(run_folder, tmp_path, "samples", {"feature": stream, "show": show}, seed=1)
    clips = {clip_id(n): n for n in range(CLIPS)}
    found = list(data.groupby("clip_id", sort=False))
    assert len(found) == 5
    for clip, rows in found:
        n = clips[str(clip)]
        logits, signal = (rows.loc[rows["part"] == part, "value"].to_numpy() for part in ("logit", "signal"))
        np.testing.assert_allclose(logits, LOGITS[1, n], rtol=1e-6)
        np.testing.assert_allclose(signal, signals[n].astype(float).ravel(), rtol=1e-6)
        assert set(rows["true"]) == {CLASSES[TRUE[n]]}
        assert set(rows["predicted"]) == {CLASSES[LOGITS[1, n].argmax()]}


def test_samples_are_drawn_by_their_seed(run_folder: Path, tmp_path: Path) -> None:
    definition = {"feature": "image", "show": "picture", "clips": 3}
    first, other = (
        drawn(run_folder, tmp_path / str(seed), "samples", {**definition, "draw_seed": seed}) for seed in (0, 1)
    )
    assert first["clip_id"].nunique() == 3
    assert set(first["clip_id"]) != set(other["clip_id"])


@pytest.mark.parametrize(
    ("kind", "definition", "seed", "message"),
    [
        ("curvs", {}, 0, "did you mean 'curves'?"),
        ("confusion", {"pair": 2}, 0, "unknown key 'pair'; did you mean 'pairs'?"),
        ("confusion", {"split": "train"}, 0, "no clip of the split 'train' is predicted by seed 0"),
        ("confusion", {}, 7, "holds nothing of seed 7"),
        ("samples", {"feature": "image"}, 0, "the key 'show' is missing"),
        ("samples", {"feature": "images", "show": "picture"}, 0, "did you mean 'image'?"),
        ("samples", {"feature": "image", "show": "picture", "clips": 201}, 0, "201 of 200"),
    ],
)
def test_bad_settings(
    run_folder: Path, tmp_path: Path, kind: str, definition: dict[str, Any], seed: int, message: str
) -> None:
    with pytest.raises(UserError) as error:
        drawn(run_folder, tmp_path, kind, definition, seed)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_missing_columns_and_clips(run_folder: Path, tmp_path: Path) -> None:
    write_history(tmp_path / "history.parquet", [{"seed": 0, "step": 1, "epoch": 1, "loss": 2.3}])
    outputs = [tmp_path / f"figure.{ending}" for ending in ("png", "svg", "csv")]
    with pytest.raises(UserError, match="the column 'best' is missing"):
        figure("curves", {}, history=tmp_path / "history.parquet").run(*outputs)
    with pytest.raises(UserError, match="this kind of figure needs the history"):
        figure("curves", {}).run(*outputs)
    predicted = {"predictions": run_folder / "predictions.parquet"}
    with pytest.raises(UserError, match="this kind of figure needs the manifest"):
        figure("confusion", {}, **predicted).run(*outputs)
    empty = pa.schema([("clip_id", pa.string()), ("labels", pa.list_(pa.string()))])
    write(tmp_path / "manifest.parquet", [], empty)
    with pytest.raises(UserError, match="has no clip test-00000"):
        figure("confusion", {}, manifest=tmp_path / "manifest.parquet", **predicted).run(*outputs)
