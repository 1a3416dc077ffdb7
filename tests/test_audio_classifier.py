"""Training of sound classifiers on a toy corpus of features."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from timm.models.deit import VisionTransformerDistilled
from training_files import check_going_on, command, contents

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import overlay
from workflow_scripts.training.audio_data import ClipStream, Heads
from workflow_scripts.training.audio_job import Job, digest
from workflow_scripts.training.audio_run import Run, optimiser
from workflow_scripts.training.audio_settings import Optimisation, Schedule
from workflow_scripts.training.data import Inputs
from workflow_scripts.training.outputs import write_params
from workflow_scripts.training.stream import steps_an_epoch
from workflow_scripts.training.systems.audio_classifier import System

FRAMES, BINS = 32, 32
SPLITS = {"train": 97, "validation": 20, "test": 30, "unused": 5}
VERBS, NOUNS = ["0", "1"], ["2", "10"]
TINY: dict[str, dict[str, Any]] = {
    "datar": {
        "kind": "datar",
        "size": {"dims": [8, 16], "depths": [1, 2], "heads": [2, 2], "groups": [2]},
        "window": [4, 4],
        "offset_kernel": [3],
        "drop_path": 0.1,
    },
    "ast": {"kind": "ast", "dims": 16, "depth": 1, "attention_heads": 2, "patch": 16, "stride": 8},
    "resnet": {"kind": "resnet", "depth": 10, "width": 4},
    "slowfast": {
        **{"kind": "slowfast", "view_frames": 32, "test_views": 1, "depths": [1, 1, 1, 1]},
        **{"width": 8, "beta": 2, "dropout": 0},
    },
    "tbn": {
        **{"kind": "tbn", "segment_frames": 32, "train_segments": 1, "test_segments": 1, "width": 0.1},
        **{"modules": ["3a"], "dropout": 0},
    },
}
OPTIMISATION = {"batch": 16, "epochs": 2, "learning_rate": 3e-3, "shuffle_rows": 64}
AUGMENTATION = {"freq_mask": 4, "time_mask": 4, "mask_value": "mean"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def write_manifest(path: Path, labels: dict[str, list[str]], rows: list[dict[str, Any]]) -> None:
    columns = [("clip_id", pa.string()), ("split", pa.string()), ("labels", pa.list_(pa.string()))]
    kept = [{"clip_id": row["clip_id"], "split": row["split"], "labels": labels[row["clip_id"]]} for row in rows]
    shards.write(path, kept, pa.schema(columns))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whether the first or the second half of a clip is loud is its verb, whether its low or high half its noun."""
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    field = shards.array_field("features", "float16", (FRAMES, BINS))
    schema = pa.schema([pa.field("clip_id", pa.string()), pa.field("seconds", pa.float64()), field, *shards.STATE])
    rows: list[dict[str, Any]] = []
    single: dict[str, list[str]] = {}
    double: dict[str, list[str]] = {}
    for split, count in SPLITS.items():
        for number in range(count):
            clip_id = f"{split}-{number}"
            verb, noun = (int(value) for value in rng.integers(0, 2, 2))
            features = rng.normal(-6, 1, (FRAMES, BINS))
            half, low = slice(verb * 16, verb * 16 + 16), slice(noun * 16, noun * 16 + 16)
            features[half, low] += 3
            ok = (split, number) != ("train", 3)
            state = {"status": "ok" if ok else "failed", "reason": None if ok else "silent"}
            packed = shards.pack(features, field) if ok else None
            rows.append({"clip_id": clip_id, "split": split, "seconds": 4.0, "features": packed, **state})
            single[clip_id] = [f"a: {verb}{noun}"]
            double[clip_id] = [f"noun:{NOUNS[noun]}", f"verb:{VERBS[verb]}"]
    for part in range(3):
        mine = [row for row in rows if shards.shard_of(row["clip_id"], 3) == part]
        shards.write(folder / f"fbank/{part}.parquet", mine, schema, rows_a_group=16)
    write_manifest(folder / "single.parquet", single, rows)
    write_manifest(folder / "double.parquet", double, rows)
    heads = {"single": {"class": ["a: 00", "a: 01", "a: 10", "a: 11"]}, "double": {"verb": VERBS, "noun": NOUNS}}
    for name, classes in heads.items():
        (folder / f"{name}_classes.json").write_text(json.dumps({"heads": classes}))
    (folder / "statistics.json").write_text(json.dumps({"mean": -5.25, "std": 1.64}))
    return folder


def inputs_of(corpus: Path, manifest: str = "single", **changes: Any) -> Inputs:
    given: dict[str, Any] = {
        "manifest": corpus / f"{manifest}.parquet",
        "features": {"fbank": sorted((corpus / "fbank").glob("*.parquet"))},
        "reductions": {
            "toy_statistics": corpus / "statistics.json",
            "toy_classes": corpus / f"{manifest}_classes.json",
        },
    }
    return Inputs(clip_seconds=4.0, **(given | changes))


def settings_of(kind: str, **changes: Any) -> dict[str, Any]:
    base = {"model": TINY[kind], "optimisation": OPTIMISATION, "augmentation": AUGMENTATION, "record_every": 3}
    return overlay(base, changes)


def train(corpus: Path, folder: Path, kind: str, seeds: list[int], **changes: Any) -> dict[str, Any]:
    """Trains on the toy corpus inside this process; returns the facts."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {name: changes.pop(name) for name in ("manifest", "features", "reductions", "uses") if name in changes}
    place = {"checkpoints": folder / "checkpoints", "device": changes.pop("device", "cpu")}
    place["precision"] = changes.pop("precision", "32-true")
    system = System.check(settings_of(kind, **changes), "toy")
    facts = system.train(inputs_of(corpus, **given), seeds, folder, **place)
    write_params(folder / "params.json", {"definition": system.model_dump(mode="json"), "seeds": seeds, **facts})
    return facts


def history(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "history.parquet").to_pylist()


def curve(folder: Path, name: str) -> list[float]:
    return [row[name] for row in history(folder) if row[name] is not None]


def accuracy(folder: Path, corpus: Path, manifest: str = "single") -> float:
    """The share of the predicted clips of which all heads are right, from the files alone."""
    labels = {row["clip_id"]: set(row["labels"]) for row in shards.read(corpus / f"{manifest}.parquet")}
    table = pq.read_table(folder / "predictions.parquet")
    found: list[set[str]] = [set() for _ in range(len(table))]
    for head, classes in json.loads(table.schema.metadata[b"heads"]).items():
        for names, best in zip(found, shards.stack(table, f"logits_{head}").argmax(1), strict=True):
            names.add(classes[best] if head == "class" else f"{head}:{classes[best]}")
    ids = table["clip_id"].to_pylist()
    return float(np.mean([labels[clip_id] == names for clip_id, names in zip(ids, found, strict=True)]))


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
    changes = {"manifest": "double", "optimisation": {"epochs": 3}, "validation_split": "test"}
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
    heads = {"manifest": "double", "validation_split": "test", "optimisation": {"learning_rate": 1e-2, "epochs": 6}}
    facts = train(corpus, tmp_path, "resnet", [0], **heads)
    joint = curve(tmp_path, "test_joint_top1")
    assert joint[-1] == accuracy(tmp_path, corpus, "double")
    verb, noun = (curve(tmp_path, f"test_{head}_top1") for head in ("verb", "noun"))
    assert all(j <= min(v, n) for j, v, n in zip(joint, verb, noun, strict=True))
    assert facts["best"] == {"0": {"epoch": 1 + joint.index(max(joint)), "accuracy": max(joint)}}
    assert curve(tmp_path, "best_accuracy") == np.maximum.accumulate(joint).tolist()


def test_the_grouping_of_seeds_changes_nothing(corpus: Path, trained: Path, tmp_path: Path) -> None:
    weights, predictions, lines = contents(trained)
    changes = {"manifest": "double", "optimisation": {"epochs": 3}, "validation_split": "test"}
    train(corpus, tmp_path, "datar", [1], **changes)
    alone = contents(tmp_path)
    assert alone[0] == {key: value for key, value in weights.items() if key.startswith("1/")}
    assert alone[1] == [row for row in predictions if row["seed"] == 1]
    assert alone[2] == [row for row in lines if row["seed"] == 1]


def test_memory_for_features_changes_nothing(corpus: Path, tmp_path: Path) -> None:
    for megabytes in (0, 512):
        train(corpus, tmp_path / str(megabytes), "resnet", [0], cache_megabytes=megabytes)
    assert contents(tmp_path / "0") == contents(tmp_path / "512")


EVERYTHING: dict[str, Any] = {
    "model": {"perturbation": {"kind": "laplace", "scale": 0.1, "at_test": True}, "adaptor": {"weight": 0.2}},
    "augmentation": {"mixup": 0.5, "noise": 0.1},
    "optimisation": {"epochs": 3, "label_smoothing": 0.1, "clip": 1.0},
    "validation_split": "validation",
    "report_epoch": "best",
    "checkpoint_every": 2,
}


@pytest.fixture(scope="module")
def everything(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("everything")
    train(corpus, folder, "datar", [0], **EVERYTHING)
    return folder


@pytest.mark.parametrize("stop_after", [3, 6, 11])
def test_going_on_within_an_epoch(corpus: Path, everything: Path, tmp_path: Path, stop_after: int) -> None:
    """A run that stops between any two checkpoints ends as if it had never stopped."""
    step = Run.step

    def failing(run: Run, *batch: Any) -> None:
        if run.steps == stop_after:
            raise KeyboardInterrupt
        step(run, *batch)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Run, "step", failing)
        train(corpus, tmp_path, "datar", [0], **EVERYTHING)
    assert len(list((tmp_path / "checkpoints").glob("*.pt"))) == 1
    train(corpus, tmp_path, "datar", [0], **EVERYTHING)
    assert contents(tmp_path) == contents(everything)


def test_a_killed_job_goes_on_to_the_same_bits(corpus: Path, tmp_path: Path) -> None:
    changes, folder = {"optimisation": {"epochs": 12}}, tmp_path / "killed"
    line = command(
        *("audio_classifier", settings_of("resnet", **changes), folder, "--manifest", corpus / "single.parquet"),
        *("--features", f"fbank={corpus / 'fbank'}", "--reduction", f"classes={corpus / 'single_classes.json'}"),
        *("--reduction", f"statistics={corpus / 'statistics.json'}", "--seeds", "0", "--clip-seconds", "4"),
    )
    check_going_on(line, folder, lambda place: train(corpus, place, "resnet", [0], **changes), signal.SIGUSR1)


def test_a_finished_run_is_not_trained_again(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path, "resnet", [0])
    first = contents(tmp_path)
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"mean": -5.0, "std": 1.64}))
    changed = dict(inputs_of(corpus).reductions) | {"toy_statistics": other}
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(Run, "batch_loss")
        train(corpus, tmp_path, "resnet", [0])
        for changes in ({"manifest": "double"}, {"reductions": changed}, {"augmentation": {"noise": 0.1}}):
            with pytest.raises(AttributeError):
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
    place: dict[str, Any] = {"checkpoints": tmp_path, "device": "cpu", "precision": "32-true"}
    system = System.check(settings_of("datar"), "toy")
    job = Job(system, inputs_of(corpus, uses={"initial": trained.parent}), **place)
    stored = load_file(trained / "weights.safetensors")
    first = {seed: job.build(seed).state_dict() for seed in (0, 1)}
    for name, values in first[1].items():
        assert name.startswith("heads.class.") or torch.equal(values, stored[f"1/{name}"])
    assert job.checkpoint_path(0, job.build(0)) != job.checkpoint_path(0, job.build(1))
    with pytest.raises(UserError, match=r"seed 7 was not trained \(those that were: 0, 1\)"):
        job.build(7)
    other = Job(System.check(settings_of("ast"), "toy"), inputs_of(corpus, uses={"initial": trained.parent}), **place)
    with pytest.raises(UserError, match=r"its network is another one: 'trunk\..*' is not there"):
        other.build(0)
    with pytest.raises(UserError, match="this system uses 'initial' only"):
        Job(system, inputs_of(corpus, uses={"teacher": trained.parent}), **place)


def test_starting_from_published_weights(corpus: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    published = VisionTransformerDistilled(img_size=48, patch_size=16, embed_dim=16, depth=1, num_heads=2)
    torch.save(published.state_dict(), tmp_path / "deit.pth")
    system = System.check(settings_of("ast", model={"checkpoint": "deit"}), "toy")
    assert system.assets == ("deit",) and System.check(settings_of("resnet"), "toy").assets == ()
    assert System.check(settings_of("ast"), "toy").assets == ()
    place: dict[str, Any] = {"checkpoints": tmp_path, "device": "cpu", "precision": "32-true"}
    given = inputs_of(corpus)
    files = replace(given, assets={"deit": tmp_path / "deit.pth"})
    job = Job(system, files, **place)
    own, theirs = job.build(0).state_dict(), published.state_dict()
    assert torch.equal(own["trunk.blocks.0.mlp.fc1.weight"], theirs["blocks.0.mlp.fc1.weight"])
    path = job.checkpoint_path(0, job.build(0))
    torch.save({name: 2 * values for name, values in theirs.items()}, tmp_path / "deit.pth")
    assert job.checkpoint_path(0, job.build(0)) != path
    with pytest.raises(UserError, match="the network's first weights are not given; add deit=PATH"):
        Job(system, given, **place).build(0)


def test_digest_of_a_network() -> None:
    model = torch.nn.Linear(2, 2)
    before = digest(model)
    assert digest(model) == before
    with torch.no_grad():
        model.bias[0] += 1
    assert digest(model) != before


# The optimiser


@pytest.mark.parametrize("kind", TINY)
def test_what_decays(corpus: Path, tmp_path: Path, kind: str) -> None:
    system = System.check(settings_of(kind), "toy")
    job = Job(system, inputs_of(corpus), checkpoints=tmp_path, device="cpu", precision="32-true")
    model = job.build(0)
    found = optimiser(model, system.optimisation)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, free = ([names[id(p)] for p in group["params"]] for group in found.param_groups)
    assert found.param_groups[0]["weight_decay"] == 0.05 and found.param_groups[1]["weight_decay"] == 0
    assert sorted(decayed + free) == sorted(names.values())
    assert not any("norm" in name or "bn" in name or "table" in name or "token" in name for name in decayed)
    assert not any(name.endswith(".bias") or name.endswith("pos_embed") for name in decayed)
    assert any("head" in name for name in decayed)
    if kind == "datar":
        assert any(name.endswith("rpe_table") for name in free)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_each_optimiser_learns(corpus: Path, tmp_path: Path, name: str) -> None:
    optimisation = {"optimiser": name, "learning_rate": {"sgd": 0.05}.get(name, 0.01), "epochs": 6}
    train(corpus, tmp_path, "resnet", [0], optimisation=optimisation)
    losses = curve(tmp_path, "loss")
    assert losses[-1] < 0.8 * losses[0]


def test_options_reach_the_optimiser() -> None:
    model = torch.nn.Linear(2, 2)
    adam = optimiser(model, Optimisation.check({"epochs": 1, "betas": [0.95, 0.999]}, "toy"))
    assert isinstance(adam, torch.optim.AdamW) and adam.defaults["betas"] == (0.95, 0.999)
    sgd = optimiser(model, Optimisation.check({"epochs": 1, "optimiser": "sgd", "nesterov": True}, "toy"))
    assert isinstance(sgd, torch.optim.SGD) and sgd.defaults["momentum"] == 0.9 and sgd.defaults["nesterov"]


def shares(steps: int, epochs: int, **changes: Any) -> list[float]:
    schedule = Schedule.check(changes, "toy")
    return [schedule.share(step, steps, epochs) for step in range(steps)]


@given(steps=st.integers(1, 200), epochs=st.integers(1, 20), warm_up=st.floats(0, 0.99))
def test_rate_never_exceeds_its_peak(steps: int, epochs: int, warm_up: float) -> None:
    for kind in ("cosine", "constant"):
        found = shares(steps, epochs, kind=kind, warm_up=warm_up)
        rise = round(warm_up * steps)
        assert all(0 < share <= 1 for share in found)
        assert found[:rise] == pytest.approx((np.arange(rise) + 1) / max(rise, 1))
        assert found[rise:] == ([1] * (steps - rise) if kind == "constant" else sorted(found[rise:], reverse=True))


def test_schedules() -> None:
    cosine = shares(100, 10, warm_up=0.1)
    assert cosine[:10] == pytest.approx(np.arange(1, 11) / 10) and cosine[10] == 1 and cosine[55] == pytest.approx(0.5)
    assert (np.diff(cosine[10:]) < 0).all() and 0 < cosine[-1] < 0.01
    assert shares(10, 2, kind="constant", warm_up=0.2) == pytest.approx([0.5] + [1] * 9)
    steps = shares(12, 6, kind="steps", warm_up=0, milestones=[2, 5], factor=0.1)
    assert steps == pytest.approx([1] * 4 + [0.1] * 6 + [0.01] * 2)
    with pytest.raises(UserError, match="the schedule 'steps' needs milestones"):
        Schedule.check({"kind": "steps"}, "toy")
    with pytest.raises(UserError, match="the schedule 'cosine' takes no milestones"):
        Schedule.check({"milestones": [3]}, "toy")


def test_history_holds_the_rate(corpus: Path, tmp_path: Path) -> None:
    schedule = {"kind": "steps", "warm_up": 0, "milestones": [1]}
    train(corpus, tmp_path, "resnet", [0], optimisation={"schedule": schedule})
    rates = {row["epoch"]: row["learning_rate"] for row in history(tmp_path)}
    assert rates == pytest.approx({1.0: 3e-3, 2.0: 3e-4})
    assert [row["step"] for row in history(tmp_path)] == [3, 6, 9, 12]


def test_half_precision_on_the_cpu(corpus: Path, tmp_path: Path) -> None:
    for precision in ("bf16-mixed", "32-true"):
        train(corpus, tmp_path / precision, "ast", [0], precision=precision)
    half, single = (curve(tmp_path / precision, "loss")[-1] for precision in ("bf16-mixed", "32-true"))
    assert half == pytest.approx(single, rel=0.1) and half != single


def test_divergence_is_refused(corpus: Path, tmp_path: Path) -> None:
    optimisation = {"optimiser": "sgd", "learning_rate": 1e30}
    with pytest.raises(UserError, match=r"seed 0, step \d+: the loss is (nan|inf); lower 'learning_rate'"):
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


# Data


@pytest.mark.parametrize("batch", [1, 2, 5, 16, 19, 95, 96, 97, 200])
def test_steps_of_an_epoch(corpus: Path, batch: int) -> None:
    inputs = inputs_of(corpus)
    stream = ClipStream(inputs, Heads.read(inputs.reductions["toy_classes"]), ["train", "test"], 1 << 20)
    for split in ("train", "test"):
        batches = list(stream.shuffled(split, batch, 32, seed=0, epoch=0))
        assert len(batches) == steps_an_epoch(stream.counts[split], batch)
    assert len({clip_id for block in batches for clip_id in block["clip_id"]}) == 30


def test_batches_belong_together(corpus: Path) -> None:
    inputs = inputs_of(corpus, "double")
    stream = ClipStream(inputs, Heads.read(inputs.reductions["toy_classes"]), ["train"], 0)
    labels = {row["clip_id"]: row["labels"] for row in shards.read(inputs.manifest)}
    files = [pq.read_table(path) for path in inputs.features["fbank"]]
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
    given, features = dict(inputs_of(corpus).reductions), inputs_of(corpus).features["fbank"]
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
    reductions = dict(inputs_of(corpus).reductions) | {"toy_classes": stale}
    stale.write_text(json.dumps({"heads": {"class": ["a: 00", "a: 01", "a: 10"]}}))
    with pytest.raises(UserError, match=r"is of the class 'a: 11', which the head 'class' lacks"):
        train(corpus, tmp_path, "ast", [0], reductions=reductions)
    stale.write_text(json.dumps({"heads": {"class": ["a: 00"]}}))
    with pytest.raises(UserError, match="the head 'class' has 1 classes, and needs two or more"):
        train(corpus, tmp_path, "ast", [0], reductions=reductions)
