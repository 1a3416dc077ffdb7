"""What sound classifiers learn from, and mistakes in it."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from audio_files import (
    NOUNS,
    TINY,
    VERBS,
    job_of,
    reductions_of,
    train,
    write_corpus,
)
from training_files import fitting, shards_in

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.training.stream import steps_an_epoch
from workflow_scripts.training.systems.audio_classifier import System

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("sounds"))


@pytest.mark.parametrize("batch", [1, 2, 5, 16, 19, 95, 96, 97, 200])
def test_steps_of_an_epoch(corpus: Path, batch: int) -> None:
    job = job_of(corpus, corpus, "ast", [0])
    stream = fitting(job).data
    for split in ("train", "test"):
        batches = list(stream.shuffled(split, batch, 32, seed=0, epoch=0))
        assert len(batches) == steps_an_epoch(stream.counts[split], batch)
    assert len({clip_id for block in batches for clip_id in block["clip_id"]}) == 30


def test_batches_belong_together(corpus: Path) -> None:
    job = job_of(corpus, corpus, "ast", [0], labels="double", cache_megabytes=0)
    stream = fitting(job).data
    labels = {row["clip_id"]: row["labels"] for row in shards.read(job.manifest)}
    files = [pq.read_table(path) for path in job.features["fbank"]]
    stored = {row["clip_id"]: row["features"] for table in files for row in table.to_pylist()}
    for block in stream.shuffled("train", 7, 32, seed=0, epoch=0):
        for clip_id, target, features in zip(*(block[n] for n in ("clip_id", "targets", "features")), strict=True):
            verb, noun = target
            assert labels[clip_id] == [f"noun:{NOUNS[noun]}", f"verb:{VERBS[verb]}"]
            assert features.tobytes() == stored[clip_id]


# Mistakes


def test_mistakes_in_settings() -> None:
    for changes, message in (
        ({"model": {"kind": "dator"}}, "'dator'"),
        ({"model": TINY["ast"] | {"strid": 3}}, "unknown key 'model.ast.strid'"),
        ({"normalisation": "batch"}, "'normalisation'"),
    ):
        with pytest.raises(UserError, match=message):
            System.check({"optimisation": {"epochs": 1}, "model": TINY["ast"]} | changes, "toy")


def test_mistakes_in_what_is_given(corpus: Path, tmp_path: Path) -> None:
    given, features = reductions_of(corpus), shards_in(corpus / "fbank")
    both = {"fbank": features, "again": features}
    two = given | {"other_classes": corpus / "double_classes.json"}
    without = {"toy_classes": given["toy_classes"]}
    foreign = given | {"toy_classes": corpus / "double_classes.json"}
    for changes, message in (
        ({"features": both}, "needs exactly one feature, given: fbank, again"),
        ({"reductions": {}}, "needs one whose name is 'classes' or ends in '_classes', given: none"),
        ({"reductions": two}, "given: toy_statistics, toy_classes, other_classes"),
        ({"reductions": without}, "needs one whose name is 'statistics'"),
        ({"reductions": foreign}, "needs one label for each of verb, noun"),
        ({"reductions": given | {"toy_classes": corpus / "statistics.json"}}, "does not state the classes"),
        (
            {"reductions": given | {"toy_statistics": corpus / "single_classes.json"}},
            "does not state a mean and a std",
        ),
    ):
        with pytest.raises(UserError, match=message):
            train(corpus, tmp_path, "ast", [0], **changes)
    assert train(corpus, tmp_path, "ast", [0], reductions=without, normalisation="clip")["parameters"] > 0
    with pytest.raises(UserError, match="no clip of the split 'dev' is usable"):
        train(corpus, tmp_path, "ast", [0], predict_splits=["dev"])
    with pytest.raises(UserError, match=r"augmentation.time_mask: 33 is more than the 32"):
        train(corpus, tmp_path, "ast", [0], augmentation={"time_mask": 33})


def test_classes_that_changed_since(corpus: Path, tmp_path: Path) -> None:
    stale = tmp_path / "classes.json"
    reductions = reductions_of(corpus) | {"toy_classes": stale}
    stale.write_text(json.dumps({"heads": {"class": ["a: 00", "a: 01", "a: 10"]}}))
    with pytest.raises(UserError, match=r"is of the class 'a: 11', which the head 'class' lacks"):
        train(corpus, tmp_path, "ast", [0], reductions=reductions)
    stale.write_text(json.dumps({"heads": {"class": ["a: 00"]}}))
    with pytest.raises(UserError, match="the head 'class' has 1 classes, and needs two or more"):
        train(corpus, tmp_path, "ast", [0], reductions=reductions)
