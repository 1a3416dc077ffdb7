"""Reductions of the words of texts: the lexicon with its clusters, and the statistics."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.errors import UserError
from workflow_scripts.features.reducers import lexicon, text_statistics
from workflow_scripts.formats.word_vectors import murmur64
from workflow_scripts.shards import Row, read, stack

NO_MANIFEST = Path("unread")  # these reducers need none
LISTS = ("title", "keywords", "title_filtered", "keywords_filtered")
CLASSES = ["Game", "Video game", "Rock and roll", "Dance", "Game"]
WORDS = [f"{group}{number}" for group in ("red", "blue", "green") for number in range(6)]


def shards(folder: Path, rows: list[Row], count: int = 2) -> list[Path]:
    """Shards as the extractor of words writes them."""
    columns = [
        pa.field("clip_id", pa.string()),
        pa.field("split", pa.string()),
        pa.field("labels", pa.list_(pa.int32())),
    ]
    columns += [pa.field(name, pa.list_(pa.string())) for name in LISTS]
    schema = pa.schema(columns, metadata={"classes": json.dumps(CLASSES)})
    paths = [folder / f"{number}.parquet" for number in range(count)]
    for number, path in enumerate(paths):
        pq.write_table(pa.Table.from_pylist(rows[number::count], schema=schema), path)
    return paths


def row(split: str, title: list[str] | None, keywords: list[str] | None, labels: list[int] | None = None) -> Row:
    cut = {"title_filtered": (title or [])[1:], "keywords_filtered": (keywords or [])[1:]}
    return {"clip_id": "x", "split": split, "labels": labels or [], "title": title, "keywords": keywords, **cut}


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Vectors in three groups, in spaCy's format; the words of a group lie close together, green ones far away."""
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    table = np.repeat(rng.normal(size=(3, 300)) * [[1], [1], [4]], 6, axis=0) + rng.normal(size=(18, 300)) / 50
    np.save(folder / "vectors.npy", table.astype(np.float32))
    keys = {murmur64(word.encode()): number for number, word in enumerate(WORDS)}
    (folder / "keys").write_bytes(msgpack.packb(keys))
    return {"spacy_md_keys": folder / "keys", "spacy_md_vectors": folder / "vectors.npy"}


def reduced(folder: Path, rows: list[Row], assets: dict[str, Path], **settings: Any) -> pa.Table:
    output = folder / "lexicon.parquet"
    lexicon.Reducer.check({"clusters": 3, **settings}, "test").reduce(shards(folder, rows), NO_MANIFEST, assets, output)
    return pq.read_table(output)


TEXTS = st.lists(st.sampled_from(WORDS), max_size=6)
VIDEOS = st.lists(st.tuples(st.sampled_from(["train", "dev"]), TEXTS, st.none() | TEXTS), min_size=1, max_size=12)


@settings(max_examples=20)
@given(VIDEOS, st.booleans())
def test_words_are_counted_in_the_train_split(
    tmp_path_factory: pytest.TempPathFactory, assets: dict[str, Path], videos: list[tuple[Any, ...]], filtered: bool
) -> None:
    rows = [row(*video) for video in videos] + [row("train", None, ["red0", "red1", "red2"])]
    table = reduced(tmp_path_factory.getbasetemp(), rows, assets, filtered=filtered)
    names = LISTS[2:] if filtered else LISTS[:2]
    train = [r for r in rows if r["split"] == "train"]
    titles, keywords = (Counter(word for r in train for word in r[name] or []) for name in names)
    everything = {word for r in rows for name in names for word in r[name] or []}
    expected = sorted(everything, key=lambda word: (-titles[word] - keywords[word], word))
    found = table.select(["word", "title_count", "keyword_count"]).to_pylist()
    assert found == [{"word": word, "title_count": titles[word], "keyword_count": keywords[word]} for word in expected]
    vectors = np.load(assets["spacy_md_vectors"])[[WORDS.index(word) for word in expected]]
    assert np.array_equal(stack(table, "vector"), vectors.astype(np.float16))


@pytest.mark.parametrize("assign", ["l2", "l1"])
def test_words_of_a_meaning_share_a_cluster(tmp_path: Path, assets: dict[str, Path], assign: str) -> None:
    rows = [row("train", ["red5", "green5"], [*WORDS[:5], *WORDS[6:17]]), row("test", ["blue5"], None)]
    table = reduced(tmp_path, rows, assets, assign=assign)
    clusters = dict(zip(table["word"].to_pylist(), table["cluster"].to_pylist(), strict=True))
    groups = [{clusters[word] for word in WORDS[start : start + 6]} for start in (0, 6, 12)]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert set.union(*groups) == {0, 1, 2}
    assert table.schema.metadata[b"clusters"] == b"3"
    again = reduced(tmp_path, rows, assets, assign=assign)
    assert again.equals(table), "the seed decides"


def test_clusters_converge_and_none_is_empty() -> None:
    """As many words as Zipf's law has, in more clusters than there are groups: as good as scikit-learn's Lloyd."""
    rng = np.random.default_rng(5)
    table = np.repeat(rng.normal(size=(40, 20)), 20, axis=0) + rng.normal(size=(800, 20)) / 3
    weights = np.ceil(2000 / np.arange(1, 801)).astype(np.int64)
    reducer = lexicon.Reducer(clusters=128)
    centroids = reducer.cluster(table, weights)
    nearest = reducer.nearest(table, centroids)
    assert len(np.unique(nearest)) == 128
    own = np.stack([np.average(table[nearest == n], axis=0, weights=weights[nearest == n]) for n in range(128)])
    assert np.allclose(own, centroids, atol=1e-6), "every centroid is the mean of its words"


def test_frequent_keywords_draw_the_centroids(tmp_path: Path, assets: dict[str, Path]) -> None:
    """With two clusters for three groups, the two frequent ones are told apart though the rare one is farther away."""
    common = [row("train", [], [*WORDS[:6], *WORDS[6:12]]) for _ in range(500)]
    table = reduced(tmp_path, [*common, row("train", [], WORDS[12:])], assets, clusters=2)
    clusters = dict(zip(table["word"].to_pylist(), table["cluster"].to_pylist(), strict=True))
    assert clusters["red0"] != clusters["blue0"]


def test_the_distance_of_the_assignment() -> None:
    centroids, point = np.float32([[3, 0], [2, 2]]), np.float32([[0, 0]])  # 3 and 2.83 by L2, 3 and 4 by L1
    assert lexicon.Reducer(clusters=1, assign="l2").nearest(point, centroids).tolist() == [1]
    assert lexicon.Reducer(clusters=1, assign="l1").nearest(point, centroids).tolist() == [0]


def test_fewer_words_than_clusters_make_fewer_clusters(
    tmp_path: Path, assets: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    table = reduced(tmp_path, [row("train", ["blue1"], ["red0", "red1", "red0"])], assets, clusters=1024)
    assert table.schema.metadata[b"clusters"] == b"2"
    assert set(table["cluster"].to_pylist()) <= {0, 1}
    assert "2 clusters instead of 1024" in caplog.text


def test_nothing_to_cluster_is_said(tmp_path: Path, assets: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="split 'train' has a keyword"):
        reduced(tmp_path, [row("train", ["red0"], []), row("dev", [], ["red1"])], assets)


def test_shards_of_something_else_are_refused(tmp_path: Path, assets: dict[str, Path]) -> None:
    path = tmp_path / "0.parquet"
    pq.write_table(pa.table({"clip_id": ["a"], "split": ["train"]}), path)
    with pytest.raises(UserError, match="no column 'keywords'"):
        lexicon.Reducer(clusters=1).reduce([path], NO_MANIFEST, assets, tmp_path / "out.parquet")
    with pytest.raises(UserError, match="name its classes"):
        text_statistics.Reducer().reduce([path], NO_MANIFEST, {}, tmp_path / "out.json")


def statistics(folder: Path, rows: list[Row], **settings: Any) -> dict[str, Any]:
    output = folder / "statistics.json"
    text_statistics.Reducer.check(settings, "test").reduce(shards(folder, rows), NO_MANIFEST, {}, output)
    return dict(json.loads(output.read_text(encoding="utf-8")))


def test_statistics_of_a_few_videos(tmp_path: Path) -> None:
    rows = [
        row("train", ["My", "VIDEO", "Game", "night"], ["game", "video", "game", "fun", "x"], [1, 3]),
        row("train", None, ["rock", "roll", "music", "dance"], [2, 3]),
        row("dev", ["Dance"], [], [3, 4]),
        row("validation", ["Nothing", "here"], ["fun"], [0]),
        row("test", None, None, [2]),
    ]
    found = statistics(tmp_path, rows, top=2)
    every = {"train": 2, "dev": 1, "validation": 1, "test": 1}
    assert found["videos"] == every
    assert found["with_keywords"] == {**every, "dev": 0, "test": 0}
    assert found["with_title"] == {**every, "train": 1, "test": 0}
    assert found["with_both"] == {"train": 1, "dev": 0, "validation": 1, "test": 0}
    assert found["vocabulary"] == 8
    assert found["keywords_per_video"] == pytest.approx(10 / 3)
    assert found["overlap_title"] == pytest.approx((2 / 4 + 1 + 0) / 3)
    assert found["overlap_keywords"] == pytest.approx((3 / 5 + 3 / 4 + 0) / 3)
    assert found["overlap"] == pytest.approx((found["overlap_title"] + found["overlap_keywords"]) / 2)
    assert found["label_counts"] == [0, 1, 1, 2, 0]
    assert found["top_labels"] == [["Dance", 2], ["Video game", 1]]
    assert found["top_keywords"] == [["game", 2], ["dance", 1]]
    assert found["top10_share"] == 1


def test_the_share_of_the_ten_most_frequent_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.CLASSES", [f"class {number}" for number in range(12)])
    rows = [row("train", [], [], list(range(number + 1))) for number in range(12)]
    found = statistics(tmp_path, rows)
    assert found["label_counts"] == list(range(12, 0, -1))
    assert found["top10_share"] == pytest.approx(75 / 78)


def test_statistics_of_no_texts_are_null(tmp_path: Path) -> None:
    found = statistics(tmp_path, [row("dev", None, None)])
    assert [found[name] for name in ("overlap", "overlap_title", "keywords_per_video", "top10_share")] == [None] * 4
    assert found["videos"]["dev"] == 1


def test_the_lexicon_is_read_as_a_shard(tmp_path: Path, assets: dict[str, Path]) -> None:
    reduced(tmp_path, [row("train", [], ["red0"])], assets)
    assert [entry["word"] for entry in read(tmp_path / "lexicon.parquet", ["word"])] == ["red0"]
