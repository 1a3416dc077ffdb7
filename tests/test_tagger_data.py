"""What video taggers read and write of a clip: words, labels, ranked classes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.training.outputs import ranking, ranking_schema
from workflow_scripts.training.systems.video_tagger.data import Lexicon, packed_labels, unpacked_labels


def test_the_vocabulary_is_hashed_once(tmp_path: Path) -> None:
    """A look-up takes memory for its own words only: a table of all words would take megabytes of Arrow's pool."""
    fields = [
        pa.field("word", pa.string()),
        pa.field("cluster", pa.int32()),
        shards.array_field("vector", "int8", (1,)),
    ]
    words = [f"word{number}" for number in range(100_000)]
    columns = [words, [number % 7 for number in range(len(words))], [b"0"] * len(words)]
    schema = pa.schema(fields, {"clusters": "7"})
    pq.write_table(
        pa.table([pa.array(c, f.type) for c, f in zip(columns, fields, strict=True)], schema), tmp_path / "l"
    )
    lexicon = Lexicon(tmp_path / "l")
    column = pa.chunked_array([[["word5", "word99999"], []], [None, ["word5"]]], pa.list_(pa.string()))
    before = pa.default_memory_pool()
    watched = pa.proxy_memory_pool(before)
    pa.set_memory_pool(watched)
    try:
        titles, histograms = lexicon.titles(column, 3), lexicon.histograms(column)
    finally:
        pa.set_memory_pool(before)
    assert titles.tolist() == [[6, 100_000, 0], [0, 0, 0], [0, 0, 0], [6, 0, 0]]
    assert histograms.sum(1).tolist() == [2, 0, 0, 1] and histograms[3, 5] == 1 and histograms[0, 99_999 % 7] >= 1
    assert watched.max_memory() < 1 << 20


def test_a_label_that_is_no_class() -> None:
    table = pa.table({"labels": pa.array([[0], [1, 2]], pa.list_(pa.int32()))})
    with pytest.raises(UserError, match="the label 2 is not below the number of classes, 2"):
        packed_labels(table, 2)
    assert unpacked_labels({"labels": packed_labels(table, 11)}, 11).nonzero()[1].tolist() == [0, 1, 2]


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(0, 10_000))
def test_ranking_breaks_ties_by_class(clips: int, classes: int, k: int, seed: int) -> None:
    levels = [-2.5, -0.0, 0.0, 1e-30, 0.5, 0.50000006, 1.0]
    scores = np.random.default_rng(seed).choice(levels, (clips, classes)).astype(np.float32)
    best, found = ranking(scores, min(k, classes))
    assert (best == np.argsort(-scores, axis=1, kind="stable")[:, :k]).all()
    assert (found == np.take_along_axis(scores, best, 1)).all()
    schema = ranking_schema([str(n) for n in range(classes)], min(k, classes))
    assert len(shards.pack(best[0], schema.field("classes"))) == len(shards.pack(found[0], schema.field("scores")))
