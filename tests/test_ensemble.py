"""Ensembles of taggers: averages, maxima and forests over ranked lists that stand in different orders and files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
import training_files
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from sklearn.ensemble import RandomForestClassifier
from training_files import shards_in, train_into

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.tracking.items import training_items
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.outputs import ranking, ranking_schema
from workflow_scripts.training.systems.ensemble import members
from workflow_scripts.training.systems.ensemble.forest import candidates, fit, training_pairs
from workflow_scripts.training.systems.ensemble.members import open_members, side_by_side
from workflow_scripts.training.systems.ensemble.predictor import average, maximum
from workflow_scripts.training.systems.ensemble.settings import Forest

CLASSES = [f"class {number}" for number in range(12)]
CLIPS = [f"clip{number}" for number in range(240)]
SPLITS = dict(zip(CLIPS, ["dev"] * 120 + ["validation"] * 60 + ["test"] * 60, strict=True))
K = 8
TRUE = {clip_id: number % 12 for number, clip_id in enumerate(CLIPS)}
FEW = {"trees": 15, "candidates": 3}


def member_scores(role: int, seed: int) -> np.ndarray:
    """Scores (clips, classes): the true class tends to be high."""
    random = np.random.default_rng([role, seed])
    scores = random.uniform(0, 0.6, (len(CLIPS), len(CLASSES)))
    scores[np.arange(len(CLIPS)), list(TRUE.values())] += random.uniform(0, 0.6, len(CLIPS))
    return (scores / 1.2).astype(np.float32)


def write_member(folder: Path, role: int, seeds: list[int], clips: list[str] = CLIPS, **schema: Any) -> None:
    """One job's predictions, the clips in the order given."""
    layout = ranking_schema(schema.get("classes", CLASSES), K)
    rows = []
    for seed in seeds:
        classes, scores = ranking(member_scores(role, seed), K)
        for clip_id in clips:
            place = CLIPS.index(clip_id)
            lists = {"classes": classes[place], "scores": scores[place]}
            packed = {name: shards.pack(values, layout.field(name)) for name, values in lists.items()}
            rows.append({"seed": seed, "clip_id": clip_id, "split": SPLITS[clip_id], **packed})
    job = folder / f"seeds-{seeds[0]}-{seeds[-1]}"
    shards.write(job / "predictions.parquet", rows, layout, rows_a_group=32)
    (job / "params.json").write_text(json.dumps({"seeds": seeds}))


def write_corpus(folder: Path) -> Path:
    """Three members, one of which saw the clips in another order; a manifest; words, which every fourth clip lacks."""
    for role in range(3):
        order = CLIPS if role < 2 else np.random.default_rng(1).permutation(CLIPS).tolist()
        write_member(folder / f"member{role}", role, [0, 1], order)
        write_member(folder / f"member{role}", role, [2], order)
    rows = [{"clip_id": clip_id, "labels": [str(label)]} for clip_id, label in TRUE.items()]
    pq.write_table(pa.Table.from_pylist(rows), folder / "manifest.parquet")
    words = [
        {"clip_id": clip_id, "title": [[], ["a"], None, ["b", "c"]][n % 4], "keywords": ["d"], "status": "ok"}
        for n, clip_id in enumerate(CLIPS)
    ]
    lists = [pa.field(name, pa.list_(pa.string())) for name in ("title", "keywords")]
    schema = pa.schema([pa.field("clip_id", pa.string()), *lists, *shards.STATE])
    for part in range(2):
        shards.write(folder / "words" / f"{part}.parquet", words[part::2], schema)
    return folder


@pytest.fixture(autouse=True)
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many batches, and batches that end within a read and within a row group."""
    torch.set_num_threads(1)
    monkeypatch.setattr(members, "READ", 50)
    monkeypatch.setattr(members, "BATCH", 20)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("ensemble"))


def uses(corpus: Path, *names: str) -> dict[str, list[Path]]:
    """What the jobs of members, by default of all three, have written."""
    return {name: sorted((corpus / name).glob("*/*")) for name in names or ("member0", "member1", "member2")}


def job_of(corpus: Path, folder: Path, seeds: list[int], **changes: Any) -> TrainingJob:
    given = {
        "manifest": corpus / "manifest.parquet",
        "features": {"words": shards_in(corpus / "words")},
        "uses": uses(corpus),
        "clip_seconds": 1.0,
        "seeds": seeds,
        "checkpoints": folder,
    }
    return training_files.job_of("ensemble", {}, given, changes)


def train(corpus: Path, folder: Path, seeds: list[int], **changes: Any) -> tuple[dict[str, Any], pa.Table]:
    facts = train_into(folder, job_of(corpus, folder, seeds, **changes))
    return facts, pq.read_table(folder / "predictions.parquet")


def dense(role: int, seed: int, best: int = K) -> np.ndarray:
    """A member's scores (clips, classes), 0 below its list's end."""
    scores = member_scores(role, seed)
    end = np.sort(scores, 1)[:, -best, None]
    return np.where(scores >= end, scores, 0)


@pytest.mark.parametrize("method", ["average", "maximum"])
def test_methods(corpus: Path, tmp_path: Path, method: str) -> None:
    """Each seed's members are combined, whatever job made them and in whatever order the clips stand."""
    facts, table = train(corpus, tmp_path, [0, 2], method=method, top_k=5)
    assert facts["members"] == ["member0", "member1", "member2"] and facts["clips"] == {"test": 60, "validation": 60}
    assert json.loads(table.schema.metadata[b"classes"]) == CLASSES
    for seed in (0, 2):
        mine = table.filter(pc.equal(table["seed"], seed))
        assert mine["clip_id"].to_pylist() == CLIPS[120:] and mine["split"].to_pylist() == list(SPLITS.values())[120:]
        together = np.stack([dense(role, seed) for role in range(3)])[:, 120:]
        combined = together.mean(0) if method == "average" else together.max(0)
        classes, scores = ranking(combined, 5)
        assert (shards.stack(mine, "classes") == classes).all()
        assert np.allclose(shards.stack(mine, "scores"), scores, atol=1e-6)


def test_only_clips_with_texts(corpus: Path, tmp_path: Path) -> None:
    facts, table = train(corpus, tmp_path, [0], method="average", require=["title", "keywords"])
    assert table["clip_id"].to_pylist() == [clip_id for n, clip_id in enumerate(CLIPS) if n >= 120 and n % 2]
    assert facts["clips"] == {"test": 30, "validation": 30}
    assert shards.stack(table, "classes").shape == (60, 12)  # all classes, since 100 were wanted


@given(st.integers(1, 5), st.integers(2, 9), st.integers(1, 4), st.data())
def test_combining(clips: int, classes: int, members: int, data: st.DataObject) -> None:
    """Lists of any length give what the dense scores give; the average never exceeds the maximum."""
    lists, full = [], []
    for member in range(members):
        k = data.draw(st.integers(1, classes))
        scores = np.random.default_rng(member).random((clips, classes), np.float32)
        lists.append(ranking(scores, k))
        full.append(np.where(scores >= np.sort(scores, 1)[:, -k, None], scores, 0))
    mean, highest = average(lists, classes), maximum(lists, classes)
    assert np.allclose(mean, np.mean(full, 0), atol=1e-6) and np.array_equal(highest, np.max(full, 0))
    assert (mean <= highest + 1e-6).all()
    best = data.draw(st.integers(1, classes))
    rows, numbers, pairs = candidates(lists, best, classes)
    chosen = set(zip(rows.tolist(), numbers.tolist(), strict=True))
    assert chosen == {(row, int(c)) for found, _ in lists for row in range(clips) for c in found[row][:best]}
    assert np.array_equal(pairs, np.stack(full, -1)[rows, numbers])


# Forest


def test_the_forest_counts_votes(corpus: Path, tmp_path: Path) -> None:
    """A class's score is the share of scikit-learn's trees whose own prediction is that it is right.

    Leaves of several pairs have probabilities between 0 and 1, of which the share of votes is not the mean.
    """
    settings = {"method": "forest", "forest": FEW | {"min_samples_leaf": 6}, "predict_splits": ["test"], "top_k": 12}
    facts, table = train(corpus, tmp_path, [1], **settings)
    lists = [ranking(member_scores(role, 1), K) for role in range(3)]
    rows, numbers, pairs = candidates(lists, 3, 12)
    learnt = rows < 120
    correct = np.array([TRUE[CLIPS[row]] == number for row, number in zip(rows, numbers, strict=True)])
    model = RandomForestClassifier(15, min_samples_leaf=6, random_state=1).fit(pairs[learnt], correct[learnt])
    votes = np.mean([tree.predict(pairs) for tree in model.estimators_], 0)
    expected = np.zeros((240, 12))
    expected[rows, numbers] = votes
    classes, scores = ranking(expected[180:], 12)
    assert np.allclose(shards.stack(table, "scores"), scores) and (shards.stack(table, "classes") == classes).all()
    assert set(np.unique(np.round(scores * 15, 4))) <= set(range(16)) and 0 < scores.max() <= 1
    history = pq.read_table(tmp_path / "history.parquet").to_pylist()
    assert history == [
        {"seed": 1, "step": 60, "members": 3, "pairs": learnt.sum(), "correct_pairs": correct[learnt].sum()}
    ]
    right = np.mean(classes[:, 0] == [TRUE[clip_id] for clip_id in CLIPS[180:]])
    assert right > 0.6 and facts["clips"] == {"test": 60}


def test_threads_and_batches_do_not_matter(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"method": "forest", "forest": FEW}
    _, one = train(corpus, tmp_path, [0], **settings)
    torch.set_num_threads(2)
    monkeypatch.setattr(members, "BATCH", 7)
    _, other = train(corpus, tmp_path, [0], **settings)
    assert one.equals(other)
    _, seed = train(corpus, tmp_path, [1], **settings)
    assert not one.drop_columns("seed").equals(seed.drop_columns("seed"))


def test_few_pairs_are_learnt_from(corpus: Path) -> None:
    opened, _ = open_members(uses(corpus), 0)
    settings = Forest(trees=2, candidates=3, max_pairs=40)
    random = np.random.default_rng(0)
    pairs, correct = training_pairs(settings, corpus / "manifest.parquet", opened, np.arange(120), random)
    assert pairs.shape == (40, 3) and correct.shape == (40,)
    votes = fit(settings, pairs, correct, 0)
    shares = votes([(numbers[:4], scores[:4]) for numbers, scores in [m.read(np.arange(9)) for m in opened]], 12)
    assert shares.shape == (4, 12) and set(np.unique(shares)) <= {0, 0.5, 1}


def test_a_forest_that_only_saw_wrong_classes(corpus: Path, tmp_path: Path) -> None:
    """Has one answer, and no vote for any class."""
    rows = [{"clip_id": clip_id, "labels": []} for clip_id in CLIPS]
    schema = pa.schema([("clip_id", pa.string()), ("labels", pa.list_(pa.string()))])
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "manifest.parquet")
    manifest = tmp_path / "manifest.parquet"
    _, table = train(corpus, tmp_path, [0], manifest=manifest, method="forest", forest=FEW)
    assert shards.stack(table, "scores").max() == 0


# Files


def test_what_tracking_reads(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path, [0, 1], method="maximum")
    records = training_items("ens_max", [tmp_path], None)
    assert [record.name for record in records] == ["ens_max seed 0", "ens_max seed 1"]
    assert load_file(tmp_path / "weights.safetensors") == {}


def test_reading_scattered_clips(corpus: Path) -> None:
    opened, _ = open_members(uses(corpus, "member0", "member2"), 2)
    places = np.random.default_rng(0).permutation(240)[:111]
    expected = [ranking(member_scores(role, 2), K) for role in (0, 2)]
    seen = []
    for part, lists in side_by_side(opened, places):
        seen += part.tolist()
        for (classes, scores), (all_classes, all_scores) in zip(lists, expected, strict=True):
            assert (classes == all_classes[part]).all() and (scores == all_scores[part]).all()
    assert seen == places.tolist()


# Members of different clips


@pytest.mark.parametrize("method", ["average", "forest"])
def test_members_that_predicted_other_clips(corpus: Path, tmp_path: Path, method: str) -> None:
    """Those that all predict are combined as if there were no others, which are counted by who lacks them."""
    lacking = {"short": {"clip7", "clip121", "clip200", "clip239"}, "other": {"clip122", "clip200"}}
    for folder in ("parts", "same"):
        for role, (name, lost) in enumerate(lacking.items()):
            gone = lost if folder == "parts" else {*lacking["short"], *lacking["other"]}
            write_member(tmp_path / folder / name, role, [0], [clip_id for clip_id in CLIPS if clip_id not in gone])
    settings = {"method": method, "forest": FEW}
    members = {"a": uses(tmp_path / "parts", "short")["short"], "b": uses(tmp_path / "parts", "other")["other"]}
    facts, table = train(corpus, tmp_path / "out", [0], uses=members, **settings)
    members = {"a": uses(tmp_path / "same", "short")["short"], "b": uses(tmp_path / "same", "other")["other"]}
    _, expected = train(corpus, tmp_path / "expected", [0], uses=members, **settings)
    assert table.equals(expected) and len(table) == 116
    assert facts["clips"] == {"validation": 58, "test": 58} and facts["left_out"] == {"validation": 2, "test": 1}
    assert facts["left_out_for"] == {
        "test": {"a: not there": 1}, "validation": {"a: not there": 1, "b: not there": 1}
    }  # fmt: skip


# Refusals


def test_members_with_other_classes(corpus: Path, tmp_path: Path) -> None:
    write_member(tmp_path / "other", 1, [0], classes=CLASSES[::-1])
    files = {"a": uses(corpus, "member0")["member0"], "b": uses(tmp_path, "other")["other"]}
    with pytest.raises(UserError, match="'b' has other classes than 'a'"):
        train(corpus, tmp_path / "out", [0], uses=files, method="average")


@pytest.mark.parametrize(
    ("seeds", "members", "settings", "message"),
    [
        ([3], 3, {"method": "average"}, "member0: seed 3 was not trained"),
        ([0], 1, {"method": "average"}, "needs two members or more in 'uses', found 1"),
        ([0], 3, {"method": "average", "predict_splits": ["tset"]}, "'member0' predicts no clip of the split 'tset'"),
        ([0], 3, {"method": "forest", "forest": {"fit_split": "none"}}, "predicts no clip of the split 'none'"),
        ([0], 3, {"method": "mean"}, "'method': input should be 'average', 'maximum' or 'forest'"),
        ([0], 3, {"method": "average", "require": ["titles"]}, "'require.0': input should be 'title' or 'keywords'"),
    ],
)
def test_refusals(
    corpus: Path, tmp_path: Path, seeds: list[int], members: int, settings: dict[str, Any], message: str
) -> None:
    names = [f"member{number}" for number in range(members)]
    with pytest.raises(UserError, match=message):
        train(corpus, tmp_path, seeds, uses=uses(corpus, *names), **settings)


def test_missing_files(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the stream 'words' is not given"):
        train(corpus, tmp_path, [0], features={}, method="average", require=["title"])
    rows = [{"clip_id": clip_id, "labels": ["1"] if clip_id != "clip0" else None} for clip_id in CLIPS]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "manifest.parquet")
    with pytest.raises(UserError, match="clip 'clip0' has no labels"):
        train(corpus, tmp_path, [0], manifest=tmp_path / "manifest.parquet", method="forest", forest=FEW)
    gone = tmp_path / "gone" / "seeds-0-0" / "params.json"
    gone.parent.mkdir(parents=True)
    gone.write_text('{"seeds": [0]}')
    with pytest.raises(UserError, match="the predictions of 'b' are missing"):
        train(corpus, tmp_path, [0], uses=uses(corpus, "member0") | {"b": [gone]}, method="average")
