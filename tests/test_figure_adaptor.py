"""The figure of the input adaptor from made-up weights and features."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from safetensors.numpy import save_file

from workflow_scripts.errors import UserError
from workflow_scripts.figures.kinds.adaptor import Figure
from workflow_scripts.figures.plan import DrawFigure
from workflow_scripts.shards import STATE, array_field, pack, write

RNG = np.random.default_rng(0)
FRAMES, BINS, WEIGHT = 40, 16, 0.2
CLIPS = [f"clip-{n}" for n in range(6)]
FEATURES = RNG.normal(-4, 3, (len(CLIPS), FRAMES, BINS)).astype(np.float16)
STATISTICS = {"mean": -4.2, "std": 3.1}


def adaptor(channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of an adaptor."""
    rng = np.random.default_rng(channels)
    return (rng.normal(0, 1, (channels, channels, 3, 3)).astype(np.float32),
            rng.normal(0, 1, channels).astype(np.float32))  # fmt: skip


def job(folder: Path, channels: int = 1) -> Path:
    """The files of a training job with the seeds 0, whose adaptor does nothing, and 1."""
    kernel, bias = adaptor(channels)
    weights = {"1/adaptor.convolution.weight": kernel, "1/adaptor.convolution.bias": bias}
    weights |= {key.replace("1/", "0/"): np.zeros_like(value) for key, value in weights.items()}
    folder.mkdir()
    save_file({**weights, "0/trunk.norm.weight": np.ones(3, np.float32)}, folder / "weights.safetensors")
    (folder / "statistics.json").write_text(json.dumps(STATISTICS))
    text = [("clip_id", pa.string()), ("split", pa.string())]
    splits = dict(zip(CLIPS, ["train", "test", "test", "train", "test", "test"], strict=True))
    rows: list[dict[str, Any]] = [{"clip_id": clip, "split": split} for clip, split in splits.items()]
    write(folder / "manifest.parquet", [{**row, "labels": ["gong"]} for row in rows],
          pa.schema([*text, ("labels", pa.list_(pa.string()))]))  # fmt: skip
    predicted = [{**row, "seed": seed} for seed in (0, 1) for row in rows[::-1]]
    write(folder / "predictions.parquet", predicted, pa.schema([("seed", pa.int32()), *text]))
    field = array_field("features", "float16", (FRAMES, BINS))
    features = [
        {"clip_id": c, "features": pack(v, field), "status": "ok"} for c, v in zip(CLIPS, FEATURES, strict=True)
    ]
    write(folder / "0.parquet", features, pa.schema([("clip_id", pa.string()), field, *STATE]))
    return folder


def drawn(run: Path, folder: Path, seed: int = 1, **settings: Any) -> pd.DataFrame:
    """The numbers of a figure that is drawn into `folder`."""
    DrawFigure(
        kind="adaptor", settings=Figure(feature="fbank", weight=WEIGHT, **settings), title="Figure 1", seed=seed,
        predictions=run / "predictions.parquet", manifest=run / "manifest.parquet",
        weights=run / "weights.safetensors", values=run / "statistics.json", features={"fbank": [run / "0.parquet"]},
    ).run(*(folder / f"figure.{ending}" for ending in ("png", "svg", "csv")))  # fmt: skip
    return pd.read_csv(folder / "figure.csv")


def filtered(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """b + W * x of equation 5 for one channel, written out: x is (bins, frames)."""
    padded = np.pad(x, 1)
    rows, columns = x.shape
    shifted = [kernel[0, 0, i, j] * padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return np.sum(shifted, axis=0) + bias[0]


def test_the_difference_is_what_equation_5_adds(tmp_path: Path) -> None:
    data = drawn(job(tmp_path / "run"), tmp_path, clip=2)
    assert data["clip_id"].unique().tolist() == ["clip-4"]  # the third of the test clips
    assert data["label"].unique().tolist() == ["gong"]
    before, after, change = (data[name].to_numpy().reshape(FRAMES, BINS) for name in ("before", "after", "change"))
    expected = (FEATURES[4].astype(float) - STATISTICS["mean"]) / (2 * STATISTICS["std"])
    np.testing.assert_allclose(before, expected, atol=1e-5)
    np.testing.assert_allclose(change, WEIGHT * filtered(expected.T, *adaptor()).T, atol=1e-5)
    np.testing.assert_allclose(after, before + change, atol=1e-5)
    assert (data["frame"].max(), data["bin"].max()) == (FRAMES - 1, BINS - 1)
    for name in ("figure.png", "figure.svg"):
        assert (tmp_path / name).stat().st_size > 5000


def test_an_adaptor_that_does_nothing_adds_nothing(tmp_path: Path) -> None:
    data = drawn(job(tmp_path / "run"), tmp_path, seed=0)
    assert not data["change"].any()
    np.testing.assert_array_equal(data["before"], data["after"])


def test_several_channels_are_averaged(tmp_path: Path) -> None:
    data = drawn(job(tmp_path / "run", channels=3), tmp_path)
    kernel, bias = adaptor(3)
    x = data["before"].to_numpy().reshape(FRAMES, BINS).T  # the same in each channel
    expected = WEIGHT * filtered(x, kernel.sum(1).mean(0)[None, None], bias.mean(keepdims=True)).T
    np.testing.assert_allclose(data["change"].to_numpy().reshape(FRAMES, BINS), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip": 4}, "settings.clip: 4 of 4 'test' clips wanted"),
        ({"seed": 2}, "holds nothing of seed 2"),
        ({"split": "validation"}, "settings.clip: 0 of 0 'validation' clips wanted"),
    ],
)
def test_what_is_not_there_is_said(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        drawn(job(tmp_path / "run"), tmp_path, **settings)


def test_a_network_without_an_adaptor_is_refused(tmp_path: Path) -> None:
    run = job(tmp_path / "run")
    save_file({"1/trunk.norm.weight": np.ones(3, np.float32)}, run / "weights.safetensors")
    with pytest.raises(UserError, match=r"has no '1/adaptor\.convolution\.weight'"):
        drawn(run, tmp_path)
    (run / "weights.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="not a readable file of weights"):
        drawn(run, tmp_path)
    (run / "statistics.json").write_text('{"std": 3.0}')
    with pytest.raises(UserError, match="has no number 'mean'"):
        drawn(run, tmp_path)
