"""Sound event detection with a mean teacher: schedules, sampling, losses, and whole jobs on a toy corpus."""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import training_files
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from training_files import command, first_run, shards_in, train_into

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.training.clips import load_clips, multi_hot, statistics
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.sampling import Reshuffled
from workflow_scripts.training.schedules import average_decay, ramped_decay
from workflow_scripts.training.systems.mean_teacher_sed.losses import (
    classification_loss,
    consistency_loss,
    update_teacher,
)
from workflow_scripts.training.systems.mean_teacher_sed.run import MeanTeacherRun
from workflow_scripts.training.systems.mean_teacher_sed.settings import System

CLASSES = ["low", "middle", "high"]
SPLITS = {"weak": 60, "unlabelled": 40, "validation": 30, "test": 30}
TOY: dict[str, Any] = {
    "classes": CLASSES,
    "frames": 10,
    "frame_seconds": 0.5,
    "network": {
        "projections": {"auditory": 4},
        "channels": [8, 8, 8],
        "pools": [[2, 2], [2, 2], [1, 2]],
        "dropout": 0.1,
        "hidden": 8,
        "layers": 1,
    },
    "optimisation": {"steps": 8, "batch": {"weak": 8, "unlabelled": 4}, "peak_rate": 0.02, "ramp_steps": 4},
    "record_every": 2,
    "validate_every": 4,
    "checkpoint_every": 3,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def write_corpus(folder: Path) -> Path:
    """Clips of 5 s in which each class, for a part of the clip, is noise in a band of its own; in two shards."""
    noise = np.random.default_rng(7)
    manifest, spectral, auditory = [], [], []
    for split, count in SPLITS.items():
        for number in range(count):
            clip_id = f"{split}-{number}"
            labels = [name for name in CLASSES if noise.random() < 0.5]
            sound = noise.normal(-40, 1, (40, 8))
            for name in labels:
                start = noise.integers(0, 20)
                band = 2 * CLASSES.index(name)
                sound[start : start + 15, band : band + 2] += 12
            manifest.append({"clip_id": clip_id, "split": split, "labels": None if split == "unlabelled" else labels})
            bad = clip_id == "weak-5"
            state = {"clip_id": clip_id, "seconds": 5.0, "status": "failed" if bad else "ok"}
            spectral.append(state | {"features": None if bad else sound})
            auditory.append(state | {"status": "ok", "features": noise.normal(0, 1, (5, 6))})
    pq.write_table(pa.Table.from_pylist(manifest), folder / "manifest.parquet")
    for name, rows, shape in (("spectral", spectral, [40, 8]), ("auditory", auditory, [5, 6])):
        field = shards.array_field("features", "float16", shape)
        columns = [pa.field("clip_id", pa.string()), pa.field("seconds", pa.float64()), field, *shards.STATE]
        for part in range(2):
            chosen = [row for row in rows if shards.shard_of(row["clip_id"], 2) == part]
            packed = [
                r | {"features": None if r["features"] is None else shards.pack(r["features"], field)} for r in chosen
            ]
            shards.write(folder / name / f"{part}.parquet", packed, pa.schema(columns), rows_a_group=16)
    return folder


def job_of(corpus: Path, folder: Path, seeds: list[int], **changes: Any) -> TrainingJob:
    given = {
        "manifest": corpus / "manifest.parquet",
        "features": {name: shards_in(corpus / name) for name in ("spectral", "auditory")},
        "clip_seconds": 5.0,
        "seeds": seeds,
        "checkpoints": folder / "checkpoints",
    }
    return training_files.job_of("mean_teacher_sed", TOY, given, changes)


def train(corpus: Path, folder: Path, seeds: list[int], **changes: Any) -> Path:
    train_into(folder, job_of(corpus, folder, seeds, **changes))
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"))


# Schedules, sampling, losses


def test_learning_rates_of_the_paper() -> None:
    def rate(step: int) -> float:
        return ramped_decay(step, 1e-3, 12_500, 0.99995)

    assert rate(0) == pytest.approx(6.7e-6, rel=6e-3)
    assert rate(12_500) == 1e-3
    assert rate(25_000) == pytest.approx(5.35e-4, rel=1e-3)
    assert rate(50_000) == pytest.approx(1.53e-4, rel=3e-3)
    assert ramped_decay(0, 0.5, 0, 0.9) == 0.5


@given(st.integers(1, 25), st.integers(1, 30), st.integers(0, 99))
def test_every_turn_holds_every_item_once(count: int, size: int, seed: int) -> None:
    sampler = Reshuffled(np.arange(count) + 100, size, seed, "weak")
    drawn = np.concatenate([sampler.batch(step) for step in range(3 * count // size + 2)])
    for turn in range(len(drawn) // count):
        assert sorted(drawn[turn * count : (turn + 1) * count]) == list(range(100, 100 + count))


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 50))
def test_a_batch_depends_on_its_step_alone(count: int, size: int, step: int) -> None:
    straight = Reshuffled(np.arange(count), size, 3, "weak")
    for before in range(step):
        straight.batch(before)
    assert np.array_equal(straight.batch(step), Reshuffled(np.arange(count), size, 3, "weak").batch(step))


def test_seeds_splits_and_turns_differ_in_order() -> None:
    first = Reshuffled(np.arange(50), 50, 0, "weak")
    others = [first.batch(1), *(Reshuffled(np.arange(50), 50, *of).batch(0) for of in ((1, "weak"), (0, "unlabelled")))]
    assert all(not np.array_equal(first.batch(0), other) for other in others)


def test_classification_loss_ignores_clips_without_annotation() -> None:
    clips = torch.tensor([[0.5, 0.8], [0.1, 0.1]])
    targets = torch.tensor([[1.0, 0.0], [math.nan, math.nan]])
    assert classification_loss(clips, targets).item() == pytest.approx(-(math.log(0.5) + math.log(0.2)) / 2)


def test_consistency_loss_flows_to_the_student_only() -> None:
    student, teacher = torch.tensor([0.2, 0.6], requires_grad=True), torch.tensor([0.4, 0.5], requires_grad=True)
    loss = consistency_loss(student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx((0.04 + 0.01) / 2)
    assert student.grad is not None and teacher.grad is None


def test_teacher_is_a_moving_average_of_parameters_only() -> None:
    assert [average_decay(step, 0.999) for step in (0, 1, 3, 999, 5000)] == [0, 0.5, 0.75, 0.999, 0.999]
    student, teacher = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    with torch.no_grad():
        student.weight.fill_(3.0)
    student.running_mean.fill_(5.0)
    update_teacher(teacher, student, 0.75)
    assert teacher.weight.item() == pytest.approx(0.75 * 1 + 0.25 * 3) and teacher.running_mean.item() == 0


class Constant(nn.Module):
    """Outputs the sigmoid of its parameter as clip and frame probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(1))

    def forward(self, features: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        probability = self.logit.sigmoid() * torch.ones(2, 1)
        return probability, probability[:, None]


def test_one_step_by_hand(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workflow_scripts.training.systems.mean_teacher_sed.run.build_student", lambda *_: Constant())
    step = {"peak_rate": 0.1, "ramp_steps": 0, "teacher_decay": 0.5}
    run: MeanTeacherRun = first_run(job_of(corpus, tmp_path, [0], optimisation=step))
    with torch.no_grad():
        run.teacher.logit.fill_(math.log(3))  # probability 0.75
    run.steps = 1  # at which the teacher's moving average has the decay 1/2
    run.step({}, torch.tensor([[1.0], [math.nan]]))
    assert run.terms["classification"].item() == pytest.approx(math.log(2))
    assert run.terms["clip_consistency"].item() == run.terms["frame_consistency"].item() == pytest.approx(0.0625)
    assert run.loss.item() == pytest.approx(math.log(2) + 2 * 0.125)
    moved = run.network.logit.item()
    assert moved == pytest.approx(0.1, rel=1e-3)  # Adam's first step has the size of the rate
    assert run.teacher.logit.item() == pytest.approx((math.log(3) + moved) / 2, rel=1e-4)


# Data


def test_clips_lacking_a_stream_are_left_out_and_counted(corpus: Path, tmp_path: Path) -> None:
    job = job_of(corpus, tmp_path, [0])
    clips = load_clips(job, ["spectral", "auditory"], list(SPLITS))
    assert clips.counts == SPLITS | {"weak": 59} and clips.left_out == {"weak": 1}
    assert load_clips(job, ["auditory"], list(SPLITS)).left_out == {}
    (row,) = clips.of(["test"])[3:4]
    stored = [r for part in range(2) for r in shards.read(corpus / "auditory" / f"{part}.parquet")]
    expected = next(r["features"] for r in stored if r["clip_id"] == clips.rows[row]["clip_id"])
    assert clips.features["auditory"][np.array([row])].tobytes() == expected


def test_statistics_of_training_clips() -> None:
    features = np.random.default_rng(0).normal(-50, 10, (6, 9, 4)).astype(np.float32)
    features[..., 3] = 2.5
    mean, deviation = statistics(features[[0, 2, 5]])
    chosen = features[[0, 2, 5]].reshape(-1, 4)
    assert np.allclose(mean, chosen.mean(0), rtol=1e-5)
    assert np.allclose(deviation, [*chosen[:, :3].std(0), 1.0], rtol=1e-5)


def test_targets() -> None:
    event = {"onset": 0.0, "offset": 1.0, "label": "high"}
    rows = [{"labels": ["low"]}, {"labels": None}, {"labels": None, "events": [event, event]}, {"labels": []}]
    targets = multi_hot([{"clip_id": "x"} | row for row in rows], CLASSES)
    assert np.array_equal(targets, [[1, 0, 0], [np.nan] * 3, [0, 0, 1], [0, 0, 0]], equal_nan=True)
    with pytest.raises(UserError, match=r"clip 'x': the label 'hihg' .*did you mean 'high'"):
        multi_hot([{"clip_id": "x", "labels": ["hihg"]}], CLASSES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimisation": {"batch": {"strong": 2}}}, "no clip of the split 'strong'"),
        ({"frames": 20, "frame_seconds": 0.25}, "'frames' is 20, but the pools leave 10 of 40"),
        ({"frame_seconds": 0.1}, "cover 1.00 s, but clips have 5.0 s"),
        ({"network": {"projections": {"visual": 4}}}, "the stream 'visual' is not given"),
        ({"network": {"channels": [8, 8], "pools": [[2, 2], [2, 2]]}}, "network: the pools reduce 8 bands"),
        ({"network": {"channels": [8, 8]}}, "2 channels need as many pools"),
        ({"network": {"hiden": 3}}, "unknown key 'network.hiden'; did you mean 'hidden'"),
    ],
)
def test_refusals(corpus: Path, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(corpus, tmp_path, [0], **changes)


# Whole jobs


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy job of seeds 0 and 1, run once by the command."""
    folder = tmp_path_factory.mktemp("trained")
    subprocess.run(command(job_of(corpus, folder, [0, 1]), folder), check=True)
    return folder


def test_files_of_a_job(trained: Path) -> None:
    table = pq.read_table(trained / "predictions.parquet")
    assert json.loads(table.schema.metadata[b"classes"]) == CLASSES
    assert float(table.schema.metadata[b"frame_seconds"]) == 0.5
    assert table.num_rows == 2 * 60 and set(table["split"].to_pylist()) == {"validation", "test"}
    frames, clips = shards.stack(table, "frames"), shards.stack(table, "clip")
    assert frames.shape == (120, 10, 3) and frames.dtype == np.float16 and clips.dtype == np.float32
    pooled = np.square(frames.astype(float)).sum(1) / frames.astype(float).sum(1)
    assert np.allclose(pooled, clips, atol=2e-3)
    history = pq.read_table(trained / "history.parquet").to_pylist()
    assert [(row["seed"], row["step"]) for row in history] == [(s, step) for s in (0, 1) for step in (2, 4, 6, 8)]
    assert [row["validation_f1"] is not None for row in history[:4]] == [False, True, False, True]
    params = json.loads((trained / "params.json").read_text())
    assert params["seeds"] == [0, 1] and params["definition"]["network"]["hidden"] == 8
    assert params["clips"] == SPLITS | {"weak": 59} and params["left_out"] == {"weak": 1}
    weights = load_file(trained / "weights.safetensors")
    assert params["parameters"] == sum(
        value.numel()
        for key, value in weights.items()
        if key.startswith("0/") and not any(word in key for word in ("running", "batches", "standardise"))
    )


def test_it_learns(corpus: Path, tmp_path: Path) -> None:
    folder = train(corpus, tmp_path, [0], optimisation={"steps": 150, "ramp_steps": 30})
    rows = pq.read_table(folder / "predictions.parquet", filters=[("split", "=", "test")])
    manifest = {row["clip_id"]: row for row in pq.read_table(corpus / "manifest.parquet").to_pylist()}
    true = multi_hot([manifest[clip_id] for clip_id in rows["clip_id"].to_pylist()], CLASSES) > 0.5
    decided = shards.stack(rows, "clip") > 0.5
    f1 = 2 * (decided & true).sum() / (decided.sum() + true.sum())
    assert f1 > 0.9  # saying yes to everything gives about 0.67


def test_a_loss_that_is_no_number_names_run_and_step(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"seed 0, step 2: the loss is nan; lower the learning rate"):
        train(corpus, tmp_path / "broken", [0], optimisation={"peak_rate": 1e30, "ramp_steps": 0})


def paper_step(corpus: Path, folder: Path, letters: str, device: str, precision: str) -> float:
    """The loss of one step of the paper's network, without dropout, with one weak and one unlabelled clip."""
    sizes = {"auditory": 16, "visual": 4} if "S" in letters else {"auditory": 64, "visual": 16}
    network = {
        "spectral": "spectral" if "S" in letters else None,
        "projections": {name: size for name, size in sizes.items() if name[0].upper() in letters},
    }
    dimensions = {"spectral": 128, "auditory": 128, "visual": 4096}
    with pytest.MonkeyPatch.context() as patch:
        place = "workflow_scripts.training.systems.mean_teacher_sed.run.build_student"
        patch.setattr(place, lambda system, _: full.build(dimensions))
        full = System.check({"classes": list("abcdefghij"), "network": network}, "full")
        run = first_run(job_of(corpus, folder, [0], device=device, precision=precision))
    shapes = {"spectral": (604, 128), "auditory": (151, 128), "visual": (151, 4096)}
    features = {name: torch.randn(2, *shapes[name]).to(device) for name in full.streams}
    targets = torch.zeros(2, 10, device=device)
    targets[1] = math.nan
    before = [parameter.detach().clone() for parameter in run.network.parameters()]
    run.step(features, targets)
    assert all(not torch.equal(old, new) for old, new in zip(before, run.network.parameters(), strict=True))
    return run.loss.item()


@pytest.mark.parametrize("letters", ["S", "SV", "SA", "SAV", "V", "A", "AV"])
def test_a_full_size_step(corpus: Path, tmp_path: Path, letters: str) -> None:
    assert math.isfinite(paper_step(corpus, tmp_path, letters, "cpu", "32-true"))


def test_bfloat_on_the_cpu_is_near_single_precision(corpus: Path, tmp_path: Path) -> None:
    assert paper_step(corpus, tmp_path, "SAV", "cpu", "bf16-mixed") == pytest.approx(
        paper_step(corpus, tmp_path, "SAV", "cpu", "32-true"), rel=0.05
    )
    train(corpus, tmp_path, [0], precision="bf16-mixed")


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_step_on_cuda(corpus: Path, tmp_path: Path, precision: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    assert paper_step(corpus, tmp_path, "SAV", "cuda", precision) == pytest.approx(
        paper_step(corpus, tmp_path, "SAV", "cpu", "32-true"), rel=0.2
    )
    train(corpus, tmp_path, [0], device="cuda", precision=precision)
