"""The unigram model: its three readings worked out word by word, and its job on a small corpus of texts."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import training_files
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from training_files import shards_in, train_into

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.tracking.items import training_items
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.systems.unigram.model import Counts, Unigram

CLASSES = ["game", "car", "food", "never"]
READINGS = ["paper", "words", "released"]
Texts = list[tuple[list[str], list[int]]]
TEXTS: Texts = [
    (["race", "race", "wheel"], [0, 1]),
    (["race", "menu"], [0]),
    (["soup", "menu", "soup", "soup"], [2]),
    (["wheel", "tyre"], [1, 2]),
]


def counts(texts: Texts, size: int = 2) -> Counts:
    result = Counts(len(CLASSES))
    for start in range(0, len(texts), size):
        words, labels = zip(*texts[start : start + size], strict=True)
        result.add(pa.array(words, pa.list_(pa.string())), pa.array(labels, pa.list_(pa.int32())))
    return result


def reference(texts: Texts, words: list[str], reading: str, alpha: float) -> list[float]:
    """Equation 3, one factor after the other."""
    vocabulary = {word for own, _ in texts for word in own}
    scores = []
    for label in range(len(CLASSES)):
        mine = [own for own, labels in texts if label in labels]
        prior = len(mine) / len(texts)
        divisor = {
            "paper": len(mine) + alpha * len(CLASSES),
            "words": sum(map(len, mine)) + alpha * len(vocabulary),
            "released": sum(map(len, mine)) + alpha * len(CLASSES),
        }[reading]
        score = prior ** (len(words) if reading == "released" else 1)
        for word in words:
            score *= (sum(own.count(word) for own in mine) + alpha) / divisor
        scores.append(score)
    return [score / sum(scores) for score in scores]


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("words", [["race"], ["wheel", "wheel", "menu"], ["soup", "race"], ["unheard"]])
def test_readings_by_hand(reading: Any, words: list[str]) -> None:
    scores = Unigram(counts(TEXTS), reading, 0.1).scores(pa.array([words]))
    assert scores[0].tolist() == pytest.approx(reference(TEXTS, words, reading, 0.1))
    assert scores[0, 3] == 0 and scores.sum() == pytest.approx(1)


def test_the_readings_differ() -> None:
    scores = [Unigram(counts(TEXTS[:3]), reading, 0.1).scores(pa.array([["wheel", "menu"]])) for reading in READINGS]
    assert all(np.abs(scores[one] - scores[other]).max() > 0.01 for one, other in ((0, 1), (1, 2), (0, 2)))


def test_words_add_up_to_one() -> None:
    """With word counts below the line, and not as printed."""
    model = counts(TEXTS)
    pairs = model.total().toarray()

    def sums(divisor: np.ndarray) -> np.ndarray:
        return (pairs + 0.1).sum(0) / divisor

    words, paper = Unigram(model, "words", 0.1), Unigram(model, "paper", 0.1)
    assert sums(0.1 / np.exp(words.unseen)).tolist() == pytest.approx([1] * 4)
    assert sums(0.1 / np.exp(paper.unseen))[0] == pytest.approx((5 + 0.5) / (2 + 0.4))


WORD = st.sampled_from("abcdefgh")
CLIP = st.tuples(st.lists(WORD, min_size=1, max_size=6), st.lists(st.integers(0, 3), max_size=3, unique=True))


@given(
    st.lists(CLIP, min_size=1, max_size=12), st.integers(1, 5), st.sampled_from(READINGS), st.lists(CLIP, max_size=4)
)
def test_streamed_counts(texts: Texts, size: int, reading: Any, asked: Texts) -> None:
    """The same as counted at once, and as multiplied out factor by factor."""
    if not any(labels for _, labels in texts):
        return
    words = [own for own, _ in [*asked, *texts]]
    scores = Unigram(counts(texts, size), reading, 0.001).scores(pa.array(words))
    for row, own in zip(scores, words, strict=True):
        assert row.tolist() == pytest.approx(reference(texts, own, reading, 0.001), rel=1e-6, abs=1e-12)


def test_long_texts_do_not_underflow() -> None:
    scores = Unigram(counts(TEXTS), "paper", 0.001).scores(pa.array([["soup", "race"] * 500]))
    assert np.isfinite(scores).all() and scores.sum() == pytest.approx(1)


def test_memory_grows_with_pairs_alone() -> None:
    few, many = counts(TEXTS), counts(TEXTS * 500, size=7)
    assert many.total().nnz == few.total().nnz and many.vocabulary == few.vocabulary
    assert (many.total() != few.total() * 500).nnz == 0
    streamed = Counts(len(CLASSES))
    for _ in range(200):
        streamed.add(pa.array([["race", "menu"]]), pa.array([[0, 2]]))
        assert len(streamed.pairs) <= 2


# The job


def write_corpus(folder: Path) -> Path:
    """Clips whose first word is that of their label, in two shards; some without words, one that failed."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(200):
        label = number % 3
        title: list[str] | None = [CLASSES[label], *random.choice(["of", "and", "new"], 2).tolist()]
        if number % 10 == 9:
            title = [] if number % 20 == 9 else None
        state = {"status": "failed" if number == 4 else "ok"}
        split = ["train", "train", "dev", "test"][number // 50]
        filtered = title and title[1:]
        texts = {"title": title, "title_filtered": filtered, "keywords": title and title[:1]}
        rows.append({"clip_id": f"clip{number}", "split": split, "labels": [label], **texts, **state})
    lists = [pa.field(name, pa.list_(pa.string())) for name in ("title", "title_filtered", "keywords")]
    columns = [
        pa.field("clip_id", pa.string()),
        pa.field("split", pa.string()),
        pa.field("labels", pa.list_(pa.int32())),
    ]
    schema = pa.schema([*columns, *lists, *shards.STATE], metadata={"classes": json.dumps(CLASSES)})
    for part in range(2):
        shards.write(folder / "words" / f"{part}.parquet", rows[part::2], schema, rows_a_group=16)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("texts"))


def job_of(corpus: Path, folder: Path, seeds: list[int], **changes: Any) -> TrainingJob:
    given = {
        "manifest": corpus / "manifest.parquet",
        "features": {"words": shards_in(corpus / "words")},
        "clip_seconds": 1.0,
        "seeds": seeds,
        "checkpoints": folder,
    }
    return training_files.job_of("unigram", {"predict_splits": ["dev", "test"]}, given, changes)


def train(corpus: Path, folder: Path, *seeds: int, **changes: Any) -> tuple[dict[str, Any], pa.Table]:
    facts = train_into(folder, job_of(corpus, folder, [*seeds] or [0], **changes))
    return facts, pq.read_table(folder / "predictions.parquet")


def test_the_job(corpus: Path, tmp_path: Path) -> None:
    facts, table = train(corpus, tmp_path / "out")
    assert facts["clips"] == {"train": 89, "dev": 45, "test": 45} and facts["words"] == 6
    assert json.loads(table.schema.metadata[b"classes"]) == CLASSES
    classes, scores = shards.stack(table, "classes"), shards.stack(table, "scores")
    assert classes.shape == scores.shape == (90, 4) and scores.dtype == np.float32
    assert (np.diff(scores) <= 0).all() and np.allclose(scores.sum(1), 1, atol=1e-5)
    numbers = [int(clip_id[4:]) for clip_id in table["clip_id"].to_pylist()]
    assert numbers == [n for part in (0, 1) for n in range(100 + part, 200, 2) if n % 10 != 9]
    assert (classes[:, 0] == np.array(numbers) % 3).all()
    assert table["seconds"].null_count == 90


def test_the_words_of_labels_removed(corpus: Path, tmp_path: Path) -> None:
    _, table = train(corpus, tmp_path / "out", text={"field": "title", "filtered": True}, top_k=2)
    classes = shards.stack(table, "classes")
    right = np.mean(classes[:, 0] == [int(clip_id[4:]) % 3 for clip_id in table["clip_id"].to_pylist()])
    assert classes.shape[1] == 2 and right < 0.6


def test_seeds_repeat(corpus: Path, tmp_path: Path) -> None:
    facts, table = train(corpus, tmp_path / "out", 0, 3, text={"field": "keywords"})
    assert facts["clips"]["dev"] == 45 and facts["words"] == 3
    one, other = (table.filter(pa.compute.equal(table["seed"], seed)).drop_columns("seed") for seed in (0, 3))
    assert one.num_rows == 90 and one.equals(other)
    weights = load_file(tmp_path / "out" / "weights.safetensors")
    words = bytes(weights["3/words"]).decode().split("\n")
    assert sorted(words) == sorted(CLASSES[:3])
    assert weights["3/pairs.counts"].sum() == 89 and weights["0/label_clips"].sum() == 89
    records = training_items("unigram", [tmp_path / "out"], None)
    assert [record.name for record in records] == ["unigram seed 0", "unigram seed 3"]
    assert ("words", 3.0, 89) in records[0].metrics


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_split": "none"}, "no clip of the split 'none' has a word in 'title'"),
        ({"predict_splits": ["dev", "none"]}, "no clip of the split 'none' has a word in 'title'"),
        ({"reading": "papr"}, "'reading': input should be 'paper', 'words' or 'released'"),
        ({"text": {"fild": "title"}}, "unknown key 'text.fild'; did you mean 'field'"),
    ],
)
def test_refusals(corpus: Path, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(corpus, tmp_path / "out", **settings)


def test_without_words(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the stream 'words' is not given"):
        train(corpus, tmp_path, features={})


def test_probability_of_an_unheard_word() -> None:
    """It favours labels with few clips under the printed formula, as its small smoothing implies."""
    texts: Texts = [(["x"], [0])] * 99 + [(["y"], [1])]
    scores = Unigram(counts(texts, 100), "paper", 0.001).scores(pa.array([["unheard"]]))[0]
    expected = [0.99 * 0.001 / 99.004, 0.01 * 0.001 / 1.004]
    assert scores[:2].tolist() == pytest.approx([value / sum(expected) for value in expected])
    assert math.isclose(scores[0], 0.5, abs_tol=0.01)
