"""Feature shards as a stream: every clip once, shuffled, joined by row, in bounded memory."""

import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.training.stream import READERS, Block, Source, Stream

SPLITS = ["train", "dev"]


def write_feature(folder: Path, rows: list[list[dict[str, Any]]], rows_a_group: int) -> list[Path]:
    """One shard for each list of rows."""
    columns = [("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.int32()))]
    own = [pa.field("value", pa.int64()), pa.field("words", pa.list_(pa.string()))]
    schema = pa.schema([*(pa.field(*column) for column in columns), *own, *shards.STATE], {"classes": '["a", "b"]'})
    paths = [folder / f"{number}.parquet" for number in range(len(rows))]
    for path, part in zip(paths, rows, strict=True):
        shards.write(path, part, schema, rows_a_group)
    return paths


def clips(count: int, shard: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of a shard; some failed, some of another split, some without words."""
    return [
        {
            "clip_id": f"{shard}-{n}",
            "split": str(rng.choice([*SPLITS, "other"], p=[0.6, 0.2, 0.2])),
            "labels": [0],
            "value": 1000 * shard + n,
            "words": ["x"] * int(rng.integers(0, 3)),
            "status": str(rng.choice(["ok", "failed"], p=[0.9, 0.1])),
        }
        for n in range(count)
    ]


def values(table: pa.Table) -> Block:
    return {"value": table["value"].to_numpy()}


def sources(
    folder: Path,
    rows: list[list[dict[str, Any]]],
    groups: tuple[int, int],
    others: list[list[dict[str, Any]]] | None = None,
) -> list[Source]:
    """Two features, of the same clips if not told otherwise, in row groups of any sizes; the second one needs words."""
    first = write_feature(folder / "video", rows, groups[0])
    second = write_feature(folder / "words", rows if others is None else others, groups[1])
    again = Source("words", second, ["value"], lambda table: {"again": table["value"].to_numpy()}, ["words"])
    return [Source("video", first, ["value"], values), again]


@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    groups=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    size=st.integers(1, 20),
    pool_rows=st.integers(1, 60),
    cache=st.sampled_from([0, 300, 1 << 20]),
    seed=st.integers(0, 99),
)
def test_every_usable_clip_once(
    counts: list[int], groups: tuple[int, int], size: int, pool_rows: int, cache: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = [clips(count, shard, rng) for shard, count in enumerate(counts)]
    rows[0][0] |= {"split": "train", "status": "ok", "words": ["x"]}
    wanted = {
        split: [
            row["value"] for part in rows for row in part if row["split"] == split and row["status"] == "ok"
            and row["words"]
        ]
        for split in (*SPLITS, "other")
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        stream = Stream(sources(Path(folder), rows, groups), ["train"], cache)
        assert all(stream.counts[split] == len(wanted[split]) for split in wanted)
        for epoch in range(2):
            batches = list(stream.shuffled("train", size, pool_rows, seed, epoch))
            seen = np.concatenate([batch["value"] for batch in batches])
            assert sorted(seen) == sorted(wanted["train"])
            assert all((batch["again"] == batch["value"]).all() for batch in batches)
            sizes = [len(batch["clip_id"]) for batch in batches]
            assert all(n == size for n in sizes[:-1]) and sizes[-1] <= size + 1
            assert len(seen) == 1 or size == 1 or sizes[-1] > 1
        for split in SPLITS:
            ordered = [block["value"] for block in stream.in_order(split, size)]
            assert [value for block in ordered for value in block] == wanted[split]
            assert all(len(block) <= size for block in ordered)


def plain(folder: Path, shard_count: int, rows_a_group: int = 10, rows: int = 100) -> list[Path]:
    return write_feature(
        folder,
        [
            [
                {"clip_id": f"{s}-{n}", "split": "train", "labels": [1], "value": 1000 * s + n, "status": "ok"}
                for n in range(rows)
            ]
            for s in range(shard_count)
        ],
        rows_a_group,
    )


def epoch_of(stream: Stream, seed: int, epoch: int, pool_rows: int = 200) -> list[list[int]]:
    return [batch["value"].tolist() for batch in stream.shuffled("train", 32, pool_rows, seed, epoch)]


def test_order_depends_on_seed_and_epoch_alone(tmp_path: Path) -> None:
    files = plain(tmp_path, 4)
    stream = Stream([Source("video", files, ["value"], values)], ["train"], 1 << 20)
    uncached = Stream([Source("video", files, ["value"], values)], ["train"], 0)
    first = epoch_of(stream, 0, 0)
    assert first == epoch_of(stream, 0, 0) == epoch_of(uncached, 0, 0)
    assert first != epoch_of(stream, 0, 1) and first != epoch_of(stream, 1, 0)
    assert stream.cache and not uncached.cache


def test_batches_mix_row_groups_and_shards(tmp_path: Path) -> None:
    """A pool of half the clips: a batch of 32 out of 40 row groups of 10 meets many of them."""
    stream = Stream([Source("video", plain(tmp_path, 4), ["value"], values)], ["train"], 0)
    batches = epoch_of(stream, 0, 0)
    assert min(len({value // 10 for value in batch}) for batch in batches[:-1]) >= 10
    assert min(len({value // 1000 for value in batch}) for batch in batches[:-1]) >= 3
    inside = np.concatenate(batches)
    assert abs(np.corrcoef(inside, np.arange(len(inside)))[0, 1]) < 0.3


@pytest.mark.parametrize("shard_count", [2, 12])
def test_memory_does_not_grow_with_the_shards(tmp_path: Path, shard_count: int) -> None:
    """Decoded blocks die at once, and no more clips wait than the pool, a row group and those read ahead hold."""
    alive: Counter[str] = Counter()
    most = decoded = 0

    def watched(table: pa.Table) -> Block:
        nonlocal most, decoded
        block = {"value": table["value"].to_numpy().copy()}
        alive["blocks"] += 1
        decoded += len(block["value"])
        weakref.finalize(block["value"], alive.subtract, ["blocks"])
        most = max(most, alive["blocks"])
        return block

    stream = Stream([Source("video", plain(tmp_path, shard_count), ["value"], watched)], ["train"], 0)
    emitted, ahead = 0, READERS + 1
    for batch in stream.shuffled("train", 16, 50, 0, 0):
        assert decoded - emitted <= 50 + 10 * (1 + ahead)
        emitted += len(batch["clip_id"])
    assert emitted == 100 * shard_count and most <= 2 + ahead


def test_limit_of_clips_in_order(tmp_path: Path) -> None:
    """Whole row groups until the limit is reached."""
    stream = Stream([Source("video", plain(tmp_path, 2), ["value"], values)], ["train"], 0)
    seen = [value for block in stream.in_order("train", 7, 25) for value in block["value"]]
    assert seen == list(range(30))


def test_digest_follows_the_data(tmp_path: Path) -> None:
    def digest(files: list[Path]) -> str:
        return Stream([Source("video", files, ["value"], values)], ["train"], 0).digest

    first = digest(plain(tmp_path / "a", 2))
    assert first == digest(plain(tmp_path / "b", 2)) != digest(plain(tmp_path / "c", 2, rows=99))


def two(folder: Path, second: list[list[dict[str, Any]]]) -> Iterator[Source]:
    first = [[{"clip_id": f"{s}-{n}", "split": "train", "value": n, "status": "ok"} for n in range(3)] for s in (0, 1)]
    for name, rows in (("video", first), ("words", second)):
        yield Source(name, write_feature(folder / name, rows, 10), ["value"], values)


def test_features_in_other_shards_are_refused(tmp_path: Path) -> None:
    rows = [[{"clip_id": f"0-{n}", "split": "train", "value": 0, "status": "ok"} for n in range(3)]]
    with pytest.raises(UserError, match=r"'words' and 'video' have different shards \(1.parquet"):
        Stream(list(two(tmp_path, rows)), ["train"], 0)


@settings(max_examples=40)
@given(
    groups=st.tuples(st.integers(1, 9), st.integers(1, 9)), seed=st.integers(0, 999), cache=st.sampled_from([0, 999])
)
def test_features_of_other_clips_are_intersected(groups: tuple[int, int], seed: int, cache: int) -> None:
    """Whatever clips a source lacks, in whatever order the others stand, all that are left out are counted."""
    rng = np.random.default_rng(seed)
    known = [
        [{"clip_id": f"{s}-{n}", "split": str(rng.choice(SPLITS)), "value": 100 * s + n} for n in range(20)]
        for s in range(2)
    ]
    known[0][0]["split"], known[0][1]["split"] = SPLITS
    state = {"status": "ok", "words": ["x"]}

    def some(keep: float) -> list[list[dict[str, Any]]]:
        part = [[row | state for row in rows if rng.random() < keep or row["value"] < 2] for rows in known]
        for row in (row for rows in part for row in rows if row["value"] > 1):
            if rng.random() < 0.1:
                row |= {"status": "failed", "reason": "decode_error"}
            row["words"] = row["words"] if rng.random() < 0.9 else []
        return part

    first, second = some(0.8), [[rows[n] for n in rng.permutation(len(rows))] for rows in some(0.8)]
    good = [{row["clip_id"] for rows in part for row in rows if row["status"] == "ok"} for part in (first, second)]
    worded = {row["clip_id"] for rows in second for row in rows if row["words"]}
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "manifest.parquet"
        pq.write_table(pa.Table.from_pylist([row for rows in known for row in rows]), manifest)
        opened = sources(Path(folder), first, groups, second)
        stream = Stream(opened, SPLITS, cache, manifest)
        for split in SPLITS:
            asked = [row for rows in known for row in rows if row["split"] == split]
            wanted = [row["value"] for rows in first for row in rows if row["split"] == split
                      and row["clip_id"] in good[0] & good[1] & worded]  # fmt: skip
            assert stream.counts[split] == len(wanted)
            assert stream.left_out[split] == len(asked) - len(wanted) == stream.reasons.get(split, Counter()).total()
            for blocks in (stream.in_order(split, 7), stream.shuffled(split, 4, 9, seed, 0)):
                found = [(*pair,) for block in blocks for pair in zip(block["value"], block["again"], strict=True)]
                assert sorted(found) == sorted((value, value) for value in wanted)
        there = [{row["clip_id"] for rows in part for row in rows} for part in (first, second)]
        lost = sum(row["clip_id"] not in there[0] for rows in known for row in rows)
        assert sum(reasons["video: not there"] for reasons in stream.reasons.values()) == lost
        told = {reason for reasons in stream.reasons.values() for reason in reasons}
        assert told <= {
            *("video: not there", "video: decode_error", "words: not there", "words: decode_error", "words: no words")
        }


def test_other_unusable_shards(tmp_path: Path) -> None:
    files = plain(tmp_path, 2)
    with pytest.raises(UserError, match=r"0.parquet: has no column 'valve'; did you mean 'value'"):
        Stream([Source("video", files, ["valve"], values)], ["train"], 0)
    with pytest.raises(UserError, match=r"no clip of the split 'dev' is usable in all of the features video \(0 left"):
        Stream([Source("video", files, ["value"], values)], ["train", "dev"], 0)
    schema = pa.schema([*(pa.field(n, pa.string()) for n in ("clip_id", "split", "value")), *shards.STATE])
    shards.write(files[1], [{"clip_id": "a", "split": "train", "value": "1", "status": "ok"}], schema)
    with pytest.raises(UserError, match=r"1.parquet: its columns or classes are not those of .*0.parquet"):
        Stream([Source("video", files, ["value"], values)], ["train"], 0)
