"""Figures of label statistics and of average precision by label, from made-up files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score

from workflow_scripts.errors import UserError
from workflow_scripts.figures.plan import DrawFigure
from workflow_scripts.scores.families.multilabel import Scorer
from workflow_scripts.scores.plan import Score
from workflow_scripts.settings.plugins import FIGURES, plugin
from workflow_scripts.shards import array_field, pack, write

CLIPS, CLASSES = 60, 12
LABELS = np.random.default_rng(1).random((CLIPS, CLASSES)) < np.linspace(0.1, 0.4, CLASSES)
LABELS[:, 3] = False  # a class without a label in the split
VALUES: dict[str, Any] = {
    "top_keywords": [["game", 1234567], ["live", 900], ["car", 800], ["car", 700]],
    "top_labels": [["Video Game", 90], ["Car", 80], ["Games", 70]],
    "label_counts": [40, 10, 30, 20, 0, 15, 5, 25, 20, 35, 45, 50],
    "empty": [],
}
BY_COUNT = [11, 10, 0, 9, 2, 7, 3, 8, 5, 1, 6, 4]  # of the two with 20 the lower number first


def scores_of(folder: Path, seed: int) -> np.ndarray:
    """Scores two seeds of a system, and returns them: (seeds, clips, classes)."""
    random = np.random.default_rng(seed)
    scores = (random.random((2, CLIPS, CLASSES)) + 0.4 * LABELS).astype(np.float32)
    lists = array_field("classes", "int32", (CLASSES,)), array_field("scores", "float32", (CLASSES,))
    clip = [pa.field("clip_id", pa.string()), pa.field("split", pa.string())]
    names = {"classes": json.dumps([str(n) for n in range(CLASSES)])}
    rows = [
        {
            "seed": seed,
            "clip_id": f"{n:03}",
            "split": "validation",
            "classes": pack(np.argsort(-values, kind="stable"), lists[0]),
            "scores": pack(-np.sort(-values), lists[1]),
        }
        for seed in (0, 1)
        for n, values in enumerate(scores[seed])
    ]
    write(folder / "predictions.parquet", rows, pa.schema([pa.field("seed", pa.int32()), *clip, *lists], names))
    rows = [
        {"clip_id": f"{n:03}", "split": "validation", "labels": [str(c) for c in np.flatnonzero(row)]}
        for n, row in enumerate(LABELS)
    ]
    write(folder / "manifest.parquet", rows, pa.schema([*clip, pa.field("labels", pa.list_(pa.string()))]))
    files = {"manifest": folder / "manifest.parquet", "predictions": [folder / "predictions.parquet"]}
    job = Score(family="multilabel", settings=Scorer(), **files)
    job.run(*(folder / f"{name}.parquet" for name in ("scores", "counts", "replicates")))
    return scores


def drawn(
    folder: Path, kind: str, settings: dict[str, Any], counts: dict[str, Path] | None = None, values: Any = VALUES
) -> pd.DataFrame:
    """The numbers of a figure that is drawn into `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "values.json").write_text(json.dumps(values))
    outputs = [folder / f"figure.{ending}" for ending in ("png", "svg", "csv")]
    chosen = plugin(FIGURES, kind, "kind").check(settings, "settings")
    files = {"values": folder / "values.json", "counts": counts or {}}
    DrawFigure(kind=kind, settings=chosen, title="Figure 5: made up", **files).run(*outputs)
    assert all(path.stat().st_size > 5000 for path in outputs[:2])
    return pd.read_csv(folder / "figure.csv")


def test_bars_show_the_start_of_a_list(tmp_path: Path) -> None:
    definition = {"key": "top_keywords", "label": "occurrences", "shared": "top_labels"}
    data = drawn(tmp_path, "bars", {**definition, "bars": 3})
    assert data.to_numpy().tolist() == [[1, "game", 1234567, 1], [2, "live", 900, 0], [3, "car", 800, 1]]
    svg = (tmp_path / "figure.svg").read_text()
    assert "1,234,567" in svg and "with a word of the top labels" in svg
    data = drawn(tmp_path, "bars", {"key": "top_keywords"})
    assert data["name"].tolist() == ["game", "live", "car", "car"]  # a name may stand twice
    assert not data["shared"].any()


def test_class_precision_is_ranked_by_training_frequency(tmp_path: Path) -> None:
    """Mean over seeds of scikit-learn's average precision; the moving average leaves out what is not there."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    scores = {name: scores_of(tmp_path / name, seed) for name, seed in (("one", 3), ("two", 4))}
    counts = {label: tmp_path / name / "counts.parquet" for label, name in (("visual + audio", "one"), ("all", "two"))}
    data = drawn(tmp_path, "class_precision", {"window": 3}, counts)
    assert data["series"].tolist() == ["visual + audio"] * CLASSES + ["all"] * CLASSES
    for series, name in (("visual + audio", "one"), ("all", "two")):
        part = data[data["series"] == series]
        assert part["rank"].tolist() == list(range(1, CLASSES + 1))
        assert part["label"].tolist() == BY_COUNT
        assert part["count"].tolist() == sorted(VALUES["label_counts"], reverse=True)
        expected = np.array([
            np.nan if c == 3 else np.mean([average_precision_score(LABELS[:, c], seed[:, c]) for seed in scores[name]])
            for c in BY_COUNT
        ])  # fmt: skip
        np.testing.assert_allclose(part["average_precision"], expected, rtol=1e-5)
        windows = [expected[max(0, n - 1) : n + 2] for n in range(CLASSES)]
        np.testing.assert_allclose(part["smoothed"], [np.nanmean(window) for window in windows], rtol=1e-5)
    svg = (tmp_path / "figure.svg").read_text()
    share = 100 * sum(sorted(VALUES["label_counts"])[2:]) / sum(VALUES["label_counts"])
    assert f"the 10 most frequent labels: {share:.0f} %" in svg
    assert "visual + audio" in svg


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    scores_of(tmp_path, 5)
    here = {"a": tmp_path / "counts.parquet"}
    bars = {"key": "top_label", "label": "videos"}
    cases: list[tuple[str, dict[str, Any], dict[str, Path], Any, str]] = [
        ("bars", bars, {}, VALUES, "there is no 'top_label'; did you mean 'top_labels'?"),
        ("bars", {**bars, "key": "empty"}, {}, VALUES, "'empty' is empty"),
        ("bars", {"label": "videos"}, {}, VALUES, "the key 'key' is missing"),
        ("class_precision", {}, here, {}, "there is no 'label_counts'"),
        ("class_precision", {}, {}, VALUES, "needs 1 to 3 experiments, found 0"),
        ("class_precision", {}, here, {"label_counts": [1, 2]}, "scores 12 classes, but the values count 2"),
        ("class_precision", {"split": "test"}, here, VALUES, "has no scores on 'test'"),
        ("class_precision", {}, {"a": tmp_path / "none"}, VALUES, "not a readable Parquet file"),
    ]
    for kind, settings, counts, values, sentence in cases:
        with pytest.raises(UserError) as error:
            drawn(tmp_path, kind, settings, counts, values)
        assert sentence in str(error.value) and "\n" not in str(error.value)
        assert not (tmp_path / "figure.csv").exists()
