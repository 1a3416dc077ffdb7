"""Training of sound classifiers on a toy corpus of features."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from audio_files import NOUNS, TINY, VERBS, accuracy, job_of, reductions_of, settings_of, train, write_corpus
from safetensors.torch import load_file
from timm.models.deit import VisionTransformerDistilled
from training_files import contents, curve, first_run

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import overlay
from workflow_scripts.training.checkpoints import weights_digest
from workflow_scripts.training.systems.audio_classifier import System
from workflow_scripts.training.systems.audio_classifier.run import AudioRun

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("sounds"))


# Whole jobs


@pytest.mark.parametrize("kind", TINY)
def test_it_learns(corpus: Path, tmp_path: Path, kind: str) -> None:
    epochs = {"datar": 16, "ast": 16, "tbn": 12}.get(kind, 4)
    facts = train(
        *(corpus, tmp_path, kind, [0]),
        optimisation={"epochs": epochs, "learning_rate": 1e-2},
        validation_split="validation",
        validate_every=4,
    )
    losses, recorded = curve(tmp_path, "loss"), curve(tmp_path, "validation_top1")
    assert losses[-1] < 0.6 * losses[0] and accuracy(tmp_path, corpus) > 0.5  # chance: 1/4
    assert len(recorded) == len(curve(tmp_path, "validation_loss")) == epochs // 4
    assert facts["parameters"] > 0 and facts["examples_per_second"]["0"] > 0
    assert facts["clips"] == {"test": 30, "train": 96, "validation": 20} and facts["left_out"] == {"train": 1}


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seeds 0 and 1 with two heads, three epochs."""
    folder = tmp_path_factory.mktemp("trained") / "seeds-0-1"
    changes = {"labels": "double", "optimisation": {"epochs": 3}, "validation_split": "test"}
    train(corpus, folder, "datar", [0, 1], **changes)
    return folder


def test_predictions_of_a_job(corpus: Path, trained: Path) -> None:
    table = pq.read_table(trained / "predictions.parquet")
    assert json.loads(table.schema.metadata[b"heads"]) == {"verb": VERBS, "noun": NOUNS}
    assert table.column_names == ["seed", "clip_id", "split", "seconds", "logits_verb", "logits_noun"]
    for head in ("verb", "noun"):
        logits = shards.stack(table, f"logits_{head}")
        assert logits.dtype == np.float32 and logits.shape == (60, 2) and np.isfinite(logits).all()
    rows = table.to_pylist()
    assert [row["seed"] for row in rows] == [0] * 30 + [1] * 30
    assert {row["clip_id"] for row in rows[:30]} == {f"test-{number}" for number in range(30)}
    assert {(row["split"], row["seconds"]) for row in rows} == {("test", 4.0)}


def test_recorded_accuracy_is_that_of_the_predictions(corpus: Path, tmp_path: Path) -> None:
    heads = {"labels": "double", "validation_split": "test", "optimisation": {"learning_rate": 1e-2, "epochs": 6}}
    facts = train(corpus, tmp_path, "resnet", [0], **heads)
    joint = curve(tmp_path, "test_joint_top1")
    assert joint[-1] == accuracy(tmp_path, corpus, "double")
    verb, noun = (curve(tmp_path, f"test_{head}_top1") for head in ("verb", "noun"))
    assert all(j <= min(v, n) for j, v, n in zip(joint, verb, noun, strict=True))
    assert facts["best"] == {"0": {"epoch": 1 + joint.index(max(joint)), "accuracy": max(joint)}}
    assert curve(tmp_path, "best_accuracy") == np.maximum.accumulate(joint).tolist()


def test_memory_for_features_changes_nothing(corpus: Path, tmp_path: Path) -> None:
    for megabytes in (0, 512):
        train(corpus, tmp_path / str(megabytes), "resnet", [0], cache_megabytes=megabytes)
    assert contents(tmp_path / "0") == contents(tmp_path / "512")


def test_a_finished_run_is_not_trained_again(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path, "resnet", [0])
    first = contents(tmp_path)
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"mean": -5.0, "std": 1.64}))
    changed = reductions_of(corpus) | {"toy_statistics": other}
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(AudioRun, "batch_loss")
        train(corpus, tmp_path, "resnet", [0])
        for changes in ({"labels": "double"}, {"reductions": changed}, {"augmentation": {"noise": 0.1}}):
            with pytest.raises(TypeError):
                train(corpus, tmp_path, "resnet", [0], **changes)
    assert contents(tmp_path) == first


# Which epoch


def test_the_best_epoch_is_reported_if_so_set(corpus: Path, tmp_path: Path) -> None:
    """A learning rate that ruins the network after some epochs: the best epoch is not the last one."""
    schedule = {"kind": "constant", "warm_up": 0}
    optimisation = {"epochs": 8, "learning_rate": 0.03, "schedule": schedule, "weight_decay": 0}
    given = {"optimisation": optimisation, "validation_split": "validation", "predict_splits": ["test"]}
    last = train(corpus, tmp_path / "last", "resnet", [0], **given)["best"]["0"]
    best = train(corpus, tmp_path / "best", "resnet", [0], report_epoch="best", **given)["best"]["0"]
    assert best == last and curve(tmp_path / "last", "loss") == curve(tmp_path / "best", "loss")
    short = overlay(given, {"optimisation": {"epochs": best["epoch"]}, "report_epoch": "last"})
    train(corpus, tmp_path / "short", "resnet", [0], **short)
    assert best["epoch"] < 8, "choose another learning rate"
    assert contents(tmp_path / "best")[0] == contents(tmp_path / "short")[0] != contents(tmp_path / "last")[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "needs a validation_split to choose the epoch by"),
        ({"validation_split": "test"}, "would choose the epoch by the clips of 'test'"),
        ({"validation_split": "train"}, "would choose the epoch by the clips of 'train'"),
    ],
)
def test_the_best_epoch_needs_a_split_of_its_own(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        System.check(settings_of("ast", report_epoch="best", **changes), "toy")


# First weights


def test_training_on_from_another_experiment(corpus: Path, trained: Path, tmp_path: Path) -> None:
    """All but the heads; the same seed."""
    uses = {"initial": sorted(path for path in trained.iterdir() if path.is_file())}
    stored = load_file(trained / "weights.safetensors")
    first = {seed: first_run(job_of(corpus, tmp_path, "datar", [seed], uses=uses), seed) for seed in (0, 1)}
    for name, values in first[1].network.state_dict().items():
        assert name.startswith("heads.class.") or torch.equal(values, stored[f"1/{name}"])
    with pytest.raises(UserError, match=r"seed 7 was not trained \(those that were: 0, 1\)"):
        train(corpus, tmp_path, "datar", [7], uses=uses)
    with pytest.raises(UserError, match=r"its network is another one: 'trunk\..*' is not there"):
        train(corpus, tmp_path, "ast", [0], uses=uses)
    with pytest.raises(UserError, match="this system uses 'initial' only, not 'teacher'"):
        train(corpus, tmp_path, "datar", [0], uses={"teacher": uses["initial"]})


def test_starting_from_published_weights(corpus: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    published = VisionTransformerDistilled(img_size=48, patch_size=16, embed_dim=16, depth=1, num_heads=2)
    torch.save(published.state_dict(), tmp_path / "deit.pth")
    system = System.check(settings_of("ast", model={"checkpoint": "deit"}), "toy")
    assert system.assets == ("deit",) and System.check(settings_of("resnet"), "toy").assets == ()
    assert System.check(settings_of("ast"), "toy").assets == ()
    given = {"model": {"checkpoint": "deit"}, "assets": {"deit": tmp_path / "deit.pth"}}
    job = job_of(corpus, tmp_path, "ast", [0], **given)
    run, theirs = first_run(job), published.state_dict()
    own = run.network.state_dict()
    assert torch.equal(own["trunk.blocks.0.mlp.fc1.weight"], theirs["blocks.0.mlp.fc1.weight"])
    torch.save({name: 2 * values for name, values in theirs.items()}, tmp_path / "deit.pth")
    assert first_run(job).checkpoint != run.checkpoint
    with pytest.raises(UserError, match="the network's first weights are not given; add deit"):
        train(corpus, tmp_path, "ast", [0], model={"checkpoint": "deit"})


def test_digest_of_a_network() -> None:
    model = torch.nn.Linear(2, 2)
    before = weights_digest(model)
    assert weights_digest(model) == before
    with torch.no_grad():
        model.bias[0] += 1
    assert weights_digest(model) != before


# Number formats


def test_half_precision_on_the_cpu(corpus: Path, tmp_path: Path) -> None:
    for precision in ("bf16-mixed", "32-true"):
        train(corpus, tmp_path / precision, "ast", [0], precision=precision)
    half, single = (curve(tmp_path / precision, "loss")[-1] for precision in ("bf16-mixed", "32-true"))
    assert half == pytest.approx(single, rel=0.1) and half != single


def test_divergence_is_refused(corpus: Path, tmp_path: Path) -> None:
    optimisation = {"optimiser": "sgd", "learning_rate": 1e30}
    with pytest.raises(UserError, match=r"seed 0, step \d+: the loss is (nan|inf); lower the learning rate"):
        train(corpus, tmp_path, "ast", [0], optimisation=optimisation)


def test_the_network_is_compiled_if_so_set(corpus: Path, tmp_path: Path) -> None:
    compiled: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(type(self).__name__))
        train(corpus, tmp_path / "plain", "resnet", [0])
        train(corpus, tmp_path / "compiled", "resnet", [0], compile=True)
    assert compiled == ["AudioResNet"]
    assert contents(tmp_path / "plain") == contents(tmp_path / "compiled")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("kind", TINY)
def test_one_epoch_on_a_gpu(corpus: Path, tmp_path: Path, kind: str, precision: str) -> None:
    changes = {"optimisation": {"epochs": 1}, "precision": precision, "device": "cuda"}
    train(corpus, tmp_path, kind, [0], **changes)
    assert np.isfinite(curve(tmp_path, "loss")).all()
