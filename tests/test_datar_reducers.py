"""The classes of a corpus and the statistics of a feature, through the command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.errors import UserError
from workflow_scripts.features.plan import ReduceFeatures
from workflow_scripts.features.reducers import class_index, feature_statistics
from workflow_scripts.shards import STATE, array_field, pack, write

MANIFEST = pa.schema([("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string())), *STATE])


def manifest(path: Path, labels: dict[str, list[str] | None], split: str = "train") -> Path:
    rows = [{"clip_id": clip, "split": split, "labels": found, "status": "ok"} for clip, found in labels.items()]
    write(path, rows, MANIFEST)
    return path


def index(folder: Path, labels: dict[str, list[str] | None], **options: Any) -> dict[str, Any]:
    """The classes of clips with these labels."""
    path = manifest(folder / "manifest.parquet", labels)
    class_index.Reducer(**options).reduce([], path, {}, folder / "classes.json")
    return dict(json.loads((folder / "classes.json").read_text(encoding="utf-8")))


@given(st.lists(st.tuples(st.integers(0, 96), st.integers(0, 299)), min_size=1, max_size=40))
@settings(max_examples=40)
def test_heads_hold_every_class_once_in_the_order_of_numbers(
    tmp_path_factory: pytest.TempPathFactory, clips: list[tuple[int, int]]
) -> None:
    labels: dict[str, list[str] | None] = {f"c{n}": [f"verb:{v}", f"noun:{o}"] for n, (v, o) in enumerate(clips)}
    found = index(tmp_path_factory.mktemp("index"), labels, heads=["verb", "noun"])
    verbs, nouns = (sorted(set(numbers)) for numbers in zip(*clips, strict=True))
    assert found == {
        "heads": {"verb": list(map(str, verbs)), "noun": list(map(str, nouns))},
        "sizes": {"verb": len(verbs), "noun": len(nouns)},
    }


def test_names_are_sorted_by_the_alphabet_over_all_splits(tmp_path: Path) -> None:
    rows = [
        {"clip_id": "b", "split": "test", "labels": ["tickling"], "status": "ok"},
        {"clip_id": "a", "split": "train", "labels": ["blowing nose"], "status": "ok"},
        {"clip_id": "c", "split": "test", "labels": ["people: eating, noodle"], "status": "skipped"},
    ]
    write(tmp_path / "manifest.parquet", rows, MANIFEST)
    reduction = {"reducer": "class_index", "settings": class_index.Reducer(), "features": []}
    ReduceFeatures(**reduction, manifest=tmp_path / "manifest.parquet").run(tmp_path / "c.json")
    expected = ["blowing nose", "people: eating, noodle", "tickling"]
    assert json.loads((tmp_path / "c.json").read_text()) == {"heads": {"class": expected}, "sizes": {"class": 3}}


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ({"x": ["a", "b"]}, {}, "clip x: needs one label for each of class, has"),
        ({"x": None}, {}, "clip x: needs one label"),
        ({"x": ["verb:1"]}, {"heads": ["verb", "noun"]}, "clip x: needs one label for each of verb, noun"),
        ({}, {}, "no clip has a label"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    tmp_path: Path, labels: dict[str, list[str] | None], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        index(tmp_path, labels, **options)


def shard(path: Path, features: dict[str, np.ndarray | None], shape: tuple[int, int]) -> Path:
    field = array_field("features", "float16", shape)
    schema = pa.schema([("clip_id", pa.string()), ("seconds", pa.float64()), field, *STATE])
    rows = [
        {"clip_id": clip, "features": None if values is None else pack(values, field),
         "status": "failed" if values is None else "ok"}
        for clip, values in features.items()
    ]  # fmt: skip
    write(path, rows, schema)
    return path


@pytest.mark.parametrize("offset", [0.0, 4000.0])
def test_statistics_are_those_of_the_train_split(tmp_path: Path, offset: float) -> None:
    rng = np.random.default_rng(0)
    values = (rng.normal(-4, 4, (150, 12, 8)) + offset).astype(np.float16)
    values[:, 9:] = 0  # padding counts
    clips = {f"train{n}": values[n] for n in range(150)}
    others = {f"test{n}": np.full((12, 8), 99, np.float16) for n in range(40)}
    mixed = [*clips, *others]
    rng.shuffle(mixed)
    every: dict[str, np.ndarray | None] = {**clips, **others}
    every = {clip: every[clip] for clip in mixed} | {"train-broken": None}
    splits = {clip: "test" if clip in others else "train" for clip in every}
    rows = [{"clip_id": clip, "split": split, "labels": ["a"], "status": "ok"} for clip, split in splits.items()]
    write(tmp_path / "manifest.parquet", rows, MANIFEST)
    parts = [dict(list(every.items())[start::2]) for start in (0, 1)]
    shards = [shard(tmp_path / f"{n}.parquet", part, (12, 8)) for n, part in enumerate(parts)]
    reduction = {"reducer": "feature_statistics", "settings": feature_statistics.Reducer(), "features": shards}
    ReduceFeatures(**reduction, manifest=tmp_path / "manifest.parquet").run(tmp_path / "statistics.json")
    found = json.loads((tmp_path / "statistics.json").read_text())
    exact = values.astype(np.float64)
    assert set(found) == {"mean", "std"}
    assert found["mean"] == pytest.approx(exact.mean(), rel=1e-12)
    assert found["std"] == pytest.approx(exact.std(), rel=1e-12)


def test_a_split_without_features_is_refused(tmp_path: Path) -> None:
    path = manifest(tmp_path / "manifest.parquet", {"a": ["x"]}, split="test")
    features = shard(tmp_path / "0.parquet", {"a": np.zeros((2, 3), np.float16)}, (2, 3))
    with pytest.raises(UserError, match="no clip of the split 'train' has features"):
        feature_statistics.Reducer().reduce([features], path, {}, tmp_path / "s.json")
    with pytest.raises(UserError, match="has no column 'features'"):
        feature_statistics.Reducer().reduce([path], path, {}, tmp_path / "s.json")
    assert not (tmp_path / "s.json").exists()
