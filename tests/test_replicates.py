"""Replicated scores: those of whole records, paired over clips, in memory that does not grow with clips."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.errors import UserError
from workflow_scripts.metrics import bootstrap, external_sort
from workflow_scripts.metrics.external_sort import ExternalSort
from workflow_scripts.scores import replicates, score
from workflow_scripts.scores.counts import Counted
from workflow_scripts.scores.families import classification, multilabel
from workflow_scripts.scores.interface import MetricFamily
from workflow_scripts.scores.plan import Score
from workflow_scripts.scores.replicates import Replicated, Resample
from workflow_scripts.settings.tables import Score as Cell
from workflow_scripts.shards import Row, array_field, pack, write
from workflow_scripts.tables.evidence import Evidence, Side
from workflow_scripts.training.outputs import ranking_schema

ROOT = Path(__file__).parent.parent
CLASSES = 7
FILES = "scores", "counts", "replicates"


def manifest_of(folder: Path, clips: int) -> Path:
    """Clips of two splits with one to three labels, and the first one alone for classification."""
    random = np.random.default_rng(0)
    rows: list[Row] = [
        {"clip_id": f"{split[0]}{n:04}", "split": split, "labels": [str(c) for c in random.permutation(CLASSES)[:size]]}
        for split in ("test", "validation")
        for n, size in enumerate(random.integers(1, 4, clips))
    ]
    types = [("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string()))]
    write(folder / "manifest.parquet", rows, pa.schema(types))
    return folder / "manifest.parquet"


def predictions_of(path: Path, clips: list[str], seeds: tuple[int, ...] = (0, 1), single: bool = False) -> Path:
    """Ranked lists of all classes with coarse scores, or logits; a clip's depend on the clip and seed alone."""
    lists = ranking_schema([str(c) for c in range(CLASSES)], CLASSES)
    logits = array_field("logits", "float32", (CLASSES,))
    schema = pa.schema([*(list(lists)[:4]), logits], metadata=lists.metadata) if single else lists
    rows: list[Row] = []
    for seed in seeds:
        for clip in clips:
            values = np.random.default_rng([seed, *clip.encode()]).integers(1, 9, CLASSES) / 8
            best = np.argsort(-values, kind="stable")
            arrays = (
                {"logits": pack(values, logits)}
                if single
                else {
                    "classes": pack(best, lists.field("classes")),
                    "scores": pack(values[best], lists.field("scores")),
                }
            )
            split = "test" if clip[0] == "t" else "validation"
            rows.append({"seed": seed, "clip_id": clip, "split": split, "seconds": 1.0, **arrays})
    np.random.default_rng(1).shuffle(rows)
    write(path, rows, schema)
    return path


def scored(
    folder: Path, manifest: Path, predictions: Path, family: str = "multilabel", scorer: MetricFamily | None = None
) -> Path:
    """The folder with the files of a scoring job."""
    job = Score(
        family=family,
        settings=scorer or multilabel.Scorer(top_k=3),
        manifest=manifest,
        predictions=[predictions],
        replicates=50,
    )
    job.run(*(folder / f"{name}.parquet" for name in FILES))
    return folder


def clips_of(manifest: Path) -> list[str]:
    return pq.read_table(manifest)["clip_id"].to_pylist()


def divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes all that is held in memory so small that a few clips need many parts."""
    monkeypatch.setattr(score, "PART", 2000)
    monkeypatch.setattr(score, "CHUNK", 400)
    monkeypatch.setattr(external_sort, "BLOCK", 8)
    monkeypatch.setattr(external_sort, "EVERY", 2)


@pytest.mark.parametrize("family", ["multilabel", "classification"])
def test_parts_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    """Every replicate is what the records of all clips give under the weights of the clips, as without parts."""
    manifest = manifest_of(tmp_path, 40)
    clips = clips_of(manifest)
    if family == "classification":
        table = pq.read_table(manifest)
        labels = pa.array([own[:1] for own in table["labels"].to_pylist()], pa.list_(pa.string()))
        pq.write_table(table.set_column(2, "labels", labels), manifest)
    predictions = predictions_of(tmp_path / "predictions.parquet", clips, single=family == "classification")
    scorer = multilabel.Scorer(top_k=3) if family == "multilabel" else classification.Scorer()
    whole = scored(tmp_path / "whole", manifest, predictions, family, scorer)
    divided(monkeypatch)
    parts = scored(tmp_path / "parts", manifest, predictions, family, scorer)
    assert pq.ParquetFile(parts / "counts.parquet").num_row_groups > 8
    one, many = (Replicated.load(folder / "replicates.parquet") for folder in (whole, parts))
    counted = Counted.open(whole / "counts.parquet")
    for split in ("test", "validation"):
        weights = bootstrap.clip_weights(40, 50, split)
        for place, seed in enumerate((0, 1)):
            (records,) = counted.records(seed, split)
            expected = scorer.aggregate(records, weights)
            for metric, values in expected.items():
                np.testing.assert_allclose(one.scores[split][metric][1][place], values, rtol=1e-12)
                np.testing.assert_allclose(many.scores[split][metric][1][place], values, rtol=1e-12)
    assert one.clips == many.clips == {"test": 40, "validation": 40}
    first, second = (pq.read_table(folder / "scores.parquet").to_pydict() for folder in (whole, parts))
    assert first.pop("value") == pytest.approx(second.pop("value"), nan_ok=True)  # of no clip in a class
    assert first == second


def test_many_clips_are_drawn_in_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many weights as groups, the clips of a group weigh the same, and the interval stays as wide."""
    manifest = manifest_of(tmp_path, 600)
    predictions = predictions_of(tmp_path / "predictions.parquet", clips_of(manifest), seeds=(0,))
    spread = {}
    for groups in (1 << 14, 256):
        monkeypatch.setattr(replicates, "GROUPS", groups)
        drawn = replicates.resamples(manifest, ["test"], 50)["test"]
        assert drawn.weights.shape == (min(groups, 600), 51)
        assert (drawn.weights[:, 1:].sum(axis=0) == min(groups, 600)).all()
        folder = scored(tmp_path / str(groups), manifest, predictions)
        found = Replicated.load(folder / "replicates.parquet")
        spread[groups] = found.scores["test"]["gap"][1].std()
        counted = Counted.open(folder / "counts.parquet")
        ((records, clips),) = counted.parts(0, "test")
        weights = drawn.weights[drawn.groups(clips)].T[1:]
        expected = counted.scorer.aggregate(records, weights.astype(float))["gap"]
        np.testing.assert_allclose(found.scores["test"]["gap"][1][0], expected, rtol=1e-12)
    assert spread[256] == pytest.approx(spread[1 << 14], rel=0.4)


@pytest.mark.parametrize("groups", [1 << 14, 16])
def test_two_experiments_are_paired_over_the_clips_that_both_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: int
) -> None:
    """The same model on two thirds of the clips: the difference is known far better than unpaired scores would say."""
    monkeypatch.setattr(replicates, "GROUPS", groups)
    manifest = manifest_of(tmp_path, 60)
    clips = clips_of(manifest)
    some = [clip for n, clip in enumerate(clips) if n % 3]
    folders = {}
    for name, own in (("all", clips), ("some", some)):
        predictions = predictions_of(tmp_path / f"{name}.parquet", own, seeds=(0,))
        folders[name] = scored(tmp_path / name, manifest, predictions)
    files = ({name: at / f"{kind}.parquet" for name, at in folders.items()} for kind in ("replicates", "counts"))
    evidence = Evidence(*files, dict.fromkeys(folders, manifest))
    sides = [Side(Cell(experiment=name, metric="perr")) for name in folders]
    one, other = map(evidence.estimate, sides)
    assert (one.items, other.items) == (60, 40)
    unpaired = np.hypot(one.replicates.std(), other.replicates.std())
    assert one.minus(other).replicates.std() < 0.75 * unpaired
    difference, clips_of_both = evidence.measured(*sides)
    assert difference is not None
    assert clips_of_both == "paired over the 40 clips that both have, of 60 and 40"
    assert difference.items == 40
    assert difference.value == 0 and not difference.replicates.any()  # the same model on the same clips


def test_a_clip_has_the_same_weights_whatever_was_predicted_beside_it() -> None:
    few, many = Resample("test", {"a", "b", "c"}, 20), Resample("test", {"c", "b", "a"}, 20)
    assert (few.weights[few.groups(["c"])] == many.weights[many.groups(["a", "c"])[1:]]).all()
    assert (few.weights[:, 0] == 1).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=4))
def test_runs_are_read_back_sorted_and_equal_keys_together(runs: list[list[int]]) -> None:
    with pytest.MonkeyPatch.context() as patch, ExternalSort() as pairs:
        patch.setattr(external_sort, "BLOCK", 8)
        patch.setattr(external_sort, "EVERY", 2)
        for number, run in enumerate(runs):
            pairs.add(np.array(run, np.uint64), np.arange(len(run)) + 100 * number)
        blocks = [(keys.tolist(), values.tolist()) for keys, values in pairs.blocks()]
    keys = [key for block, _ in blocks for key in block]
    assert keys == sorted(key for run in runs for key in run)
    ends = [(one[0][-1], two[0][0]) for one, two in itertools.pairwise(blocks)]
    assert all(last < first for last, first in ends)
    found = sorted(pair for keys, values in blocks for pair in zip(keys, values, strict=True))
    assert found == sorted((key, n + 100 * number) for number, run in enumerate(runs) for n, key in enumerate(run))
    assert all(len(block) <= 8 + 2 * len(runs) or len(set(block)) <= 8 for block, _ in blocks)


def test_lower_numbers_for_higher_scores() -> None:
    scores = np.array([np.inf, 1e30, 2.0, 1.0, 1e-40, 0.0, -0.0, -1e-40, -1.0, -2.0, -np.inf], np.float32)
    places = multilabel.multilabel.descending(scores)
    assert places.dtype == np.uint32
    assert (np.diff(places.astype(int)) > 0).tolist() == [True] * 5 + [False] + [True] * 4


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, 5)
    clips = clips_of(manifest)
    files = [predictions_of(tmp_path / f"{seed}.parquet", clips[seed:], (seed,)) for seed in (0, 1)]
    job = Score(family="multilabel", settings=multilabel.Scorer(), manifest=manifest, predictions=files)
    with pytest.raises(UserError, match="of the seeds 0 and 1 only one has clip t0000 of 'test'; predict the same"):
        job.run(*(tmp_path / name for name in FILES))
    table = pq.read_table(files[0])
    other = table.set_column(
        2,
        table.schema.field("split"),
        pa.array(["test" if clip != "v0001" else "validation" for clip in table["clip_id"].to_pylist()]),
    )
    pq.write_table(other, files[0])
    job = job.model_copy(update={"predictions": files[:1]})
    with pytest.raises(UserError, match="clip v0000: is predicted in the split 'test', but not there in the manifest"):
        job.run(*(tmp_path / name for name in FILES))


MEASURED = """
import json, sys
from pathlib import Path
from benchmarks.table_evidence import measure, score, write_files
from workflow_scripts.metrics import external_sort
from workflow_scripts.scores import replicates
import workflow_scripts.scores.score as scoring

folder, videos = Path(sys.argv[1]), int(sys.argv[2])
scoring.PART, scoring.CHUNK, external_sort.BLOCK = 1 << 20, 1 << 19, 1 << 15
replicates.GROUPS = 256
print(json.dumps(measure(score, folder, 20)["megabytes"]))
"""


def test_memory_does_not_grow_with_clips(tmp_path: Path) -> None:
    """With small parts: eight times the videos, whose rows and records would take 100 MB more, in the same memory."""
    from benchmarks.table_evidence import write_files

    peaks = []
    for videos in (6_000, 48_000):
        folder = tmp_path / str(videos)
        folder.mkdir()
        write_files(folder, videos, seeds=1, classes=100, top=20)
        command = [sys.executable, "-c", MEASURED, str(folder), str(videos)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(json.loads(done.stdout))
    assert peaks[1] < peaks[0] + 60
