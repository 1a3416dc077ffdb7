"""Jobs of captioning on a toy corpus."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from caption_files import ALIGNMENT, EVERYTHING, SOUNDS, TINY, features_of, train, write_corpus
from safetensors.torch import load_file
from training_files import curve, history

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.metrics.captions import cider_d
from workflow_scripts.training.systems.captioner.texts import normal

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("clips"))


def references(corpus: Path) -> dict[str, list[str]]:
    return {row["clip_id"]: [*map(normal, row["captions"])] for row in shards.read(corpus / "manifest.parquet")}


def predicted(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "predictions.parquet").to_pylist()


@pytest.mark.parametrize("kind", TINY)
def test_it_learns_what_is_heard(corpus: Path, tmp_path: Path, kind: str) -> None:
    epochs = 12 if kind == "bart" else 8
    facts = train(corpus, tmp_path, kind, [0], optimisation={"epochs": epochs}, validate_every=4)
    losses, rows = curve(tmp_path, "loss"), predicted(tmp_path)
    assert losses[-1] < 0.4 * losses[0]
    assert len(curve(tmp_path, "validation_cider_d")) == epochs // 4
    whole, named = references(corpus), 0
    for row in rows:
        assert set(row["caption"].split()) <= {
            word for texts in whole.values() for text in texts for word in text.split()
        }
        named += all((sound in row["caption"]) == (sound in whole[row["clip_id"]][0]) for sound in SOUNDS)
    assert named / len(rows) > 0.6  # chance: 1/3
    assert facts["parameters"] > 0 and facts["vocabulary"] > 10 and facts["train_seconds"]["0"] > 0
    assert facts["clips"] == {"test": 16, "train": 64, "validation": 12} and facts["left_out"] == {"train": 1}


@pytest.fixture(scope="module")
def aligned(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeds 0 and 1 with alignment and all else that has a state."""
    folder = tmp_path_factory.mktemp("aligned") / "seeds-0-1"
    train(corpus, folder, "bart", [0, 1], **EVERYTHING)
    return folder


def test_predictions_of_a_job(corpus: Path, aligned: Path) -> None:
    table = pq.read_table(aligned / "predictions.parquet")
    assert table.column_names == ["seed", "clip_id", "split", "seconds", "caption"]
    rows = table.to_pylist()
    assert [row["seed"] for row in rows] == [0] * 16 + [1] * 16
    assert {row["clip_id"] for row in rows[:16]} == {f"test-{number}" for number in range(16)}
    assert {(row["split"], row["seconds"]) for row in rows} == {("test", 5.0), ("test", 6.0)}
    assert all(row["caption"] == normal(row["caption"]) and "<" not in row["caption"] for row in rows)


def test_both_losses_are_recorded_and_added(aligned: Path) -> None:
    for row in history(aligned):
        assert row["loss"] == pytest.approx(row["caption_loss"] + row["alignment_loss"], rel=1e-5)
        assert -1 <= row["negative_similarity"] <= 1 and -1 <= row["positive_similarity"] <= 1
        assert 0 < row["text_distance"] < 2  # of vectors at most 1 long
    margins = zip(curve(aligned, "positive_similarity"), curve(aligned, "negative_similarity"), strict=True)
    first, *_, last = [positive - negative for positive, negative in margins]
    assert last > first
    assert curve(aligned, "alignment_loss")[-1] < curve(aligned, "alignment_loss")[0]


def test_weights_hold_the_network_alone_and_once(aligned: Path) -> None:
    weights = load_file(aligned / "weights.safetensors")
    names = {name.partition("/")[2] for name in weights}
    assert (
        len(
            [
                name
                for name in names
                if weights[f"0/{name}"].shape[0] == weights["0/captioner.bart.final_logits_bias"].shape[1]
            ]
        )
        == 1
    )
    assert not any("text_encoder" in name for name in names)
    assert {name.partition("/")[0] for name in weights} == {"0", "1"}


def test_the_recorded_score_is_that_of_the_captions(corpus: Path, tmp_path: Path) -> None:
    changes = {"select_by": "last", "validation_split": "test", "search": {"beam": 1}}
    facts = train(corpus, tmp_path, "transformer", [0], **changes, optimisation={"epochs": 4})
    scores, whole = curve(tmp_path, "test_cider_d"), references(corpus)
    rows = predicted(tmp_path)
    found = cider_d([row["caption"] for row in rows], [whole[row["clip_id"]] for row in rows])
    assert scores[-1] == pytest.approx(found.mean())
    assert facts["best"] == {"0": {"epoch": 1 + scores.index(max(scores)), "cider_d": max(scores)}}


def test_the_encoder_learns_along(corpus: Path, tmp_path: Path) -> None:
    """Log-mel features of 64 bands, and one network that learns, one that is frozen."""
    schema = pq.read_schema(corpus / "map/0.parquet")
    field = shards.array_field("features", "float16", (24, 64))
    schema = schema.set(schema.get_field_index("features"), field)
    rng = np.random.default_rng(0)
    for part in range(3):
        rows = [row | {"features": shards.pack(rng.normal(-30, 9, (24, 64)), field)} if row["features"] else row
                for row in shards.read(corpus / f"map/{part}.parquet")]  # fmt: skip
        shards.write(tmp_path / f"mel/{part}.parquet", rows, schema)
    features = {"mel": sorted((tmp_path / "mel").glob("*"))}
    panns = {"kind": "panns", "size": {"channels": [4, 8], "pools": [2, 2]}}
    for frozen in (False, True):
        changes = {"encoder": panns | {"frozen": frozen}, "optimisation": {"epochs": 1}}
        place = tmp_path / str(frozen)
        train(corpus, place, "transformer", [0], features=features, select_by="last", **changes)
        train(corpus, place / "more", "transformer", [0], features=features, select_by="last",
              **changes | {"optimisation": {"epochs": 2}})  # fmt: skip
        one, two = (load_file(f / "weights.safetensors") for f in (place, place / "more"))
        same = [torch.equal(one[name], two[name]) for name in one if name.startswith("0/encoder.conv")]
        assert all(same) if frozen else not any(same[:2])


def test_half_precision_on_the_cpu(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path, "bart", [0], precision="bf16-mixed", alignment=ALIGNMENT, optimisation={"epochs": 1})
    assert np.isfinite(curve(tmp_path, "loss")).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("kind", TINY)
def test_one_epoch_on_a_gpu(corpus: Path, tmp_path: Path, kind: str, precision: str) -> None:
    changes: dict[str, Any] = {"alignment": ALIGNMENT} if kind == "bart" else {}
    train(corpus, tmp_path, kind, [0], precision=precision, device="cuda", optimisation={"epochs": 1}, **changes)
    assert np.isfinite(curve(tmp_path, "loss")).all() and len(predicted(tmp_path)) == 16


def test_mistakes_in_what_is_given(corpus: Path, tmp_path: Path) -> None:
    features = features_of(corpus)
    with pytest.raises(UserError, match="exactly one feature with the column 'temporal', given: toy_map"):
        train(corpus, tmp_path, "bart", [0], alignment=ALIGNMENT, features={"toy_map": features["toy_map"]})
    with pytest.raises(UserError, match="exactly one feature with the column 'features', given: a, b"):
        train(corpus, tmp_path, "gru", [0], features={"a": features["toy_map"], "b": features["toy_map"]})
    with pytest.raises(UserError, match="this system uses 'pretrained' only"):
        train(corpus, tmp_path, "gru", [0], uses={"initial": [tmp_path]})
    with pytest.raises(UserError, match="not given; add cnn"):
        train(corpus, tmp_path, "gru", [0], encoder={"kind": "panns", "checkpoint": "cnn"})
    with pytest.raises(UserError, match="'features' has 12 places, the captioner reads 8"):
        train(corpus, tmp_path, "bart", [0], captioner={"longest": 8}, search={"max_length": 8})
    with pytest.raises(UserError, match="lower the learning rate"):
        train(corpus, tmp_path, "gru", [0], optimisation={"learning_rate": 1e30, "clip": None})
