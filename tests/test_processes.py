"""Networks that several processes train together, and their launcher."""

import os
import re
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Any

import audio_files as sounds
import pyarrow.parquet as pq
import pytest
import test_video_tagger as videos
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from training_files import at_step, command, contents, die, side_by_side, stopped

from workflow_scripts.training import processes
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.launch import meeting_point

corpus_of_videos = videos.corpus  # a fixture
PLAIN = {"augmentation": {"freq_mask": 0, "time_mask": 0}}  # nothing is random


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus_of_sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sounds.write_corpus(tmp_path_factory.mktemp("sounds"))


@given(clips=st.integers(1, 100), count=st.integers(1, 9))
def test_every_clip_of_a_batch_counts_once(clips: int, count: int) -> None:
    counted: list[int] = []
    for rank in range(count):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(processes, "count", lambda: count)
            patch.setattr(processes, "rank", lambda rank=rank: rank)
            share = processes.share(clips)
        mine = list(range(share.start, share.stop))
        assert len(mine) >= min(clips, 2)
        counted += [] if share.idle else mine
    assert counted == list(range(clips))


# Two processes and one


@pytest.mark.parametrize("batch", [16, 49])
def test_two_processes_learn_what_one_does(corpus_of_videos: Path, tmp_path: Path, batch: int) -> None:
    """Of 149 clips the last batch holds 5, or 2, which one process learns from while the other is idle."""
    changes = {"optimisation": {"batch": batch, "decay_examples": 100}, "record_every": 1}
    compare(lambda folder: videos.train(corpus_of_videos, folder, "lstm", [0, 1], **changes), tmp_path)


@pytest.mark.parametrize("kind", ["datar", "ast"])
def test_two_processes_classify_sounds_as_one_does(corpus_of_sounds: Path, tmp_path: Path, kind: str) -> None:
    changes: dict[str, Any] = {"record_every": 1, "validation_split": "validation", "report_epoch": "best", **PLAIN}
    changes |= {"optimisation": {"clip": 1.0}} | ({"model": {"drop_path": 0}} if kind == "datar" else {})
    compare(lambda folder: sounds.train(corpus_of_sounds, folder, kind, [0], **changes), tmp_path)


def compare(train: Callable[[Path], Any], folder: Path) -> None:
    """Both jobs leave the same history and weights, up to rounding."""
    train(folder / "one")
    assert side_by_side(lambda: train(folder / "two")) == [0, 0]
    one, two = (pq.read_table(folder / name / "history.parquet").to_pydict() for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, values in one.items():
        present = [value is not None for value in values]
        assert [value is not None for value in two[name]] == present
        assert [*compress(two[name], present)] == pytest.approx([*compress(values, present)], rel=1e-4)
    weights = load_file(folder / "two" / "weights.safetensors")
    for name, values in load_file(folder / "one" / "weights.safetensors").items():
        torch.testing.assert_close(weights[name], values, rtol=1e-3, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices")
def test_two_gpus_learn_what_one_does(corpus_of_videos: Path, tmp_path: Path) -> None:
    """Batch norm sees the whole batch there."""
    changes = {"model": {"dropout": 0}, "record_every": 1, "optimisation": {"epochs": 1}}
    for name, processes_of_job in (("one", 1), ("two", 2)):
        job = videos.job_of(
            *(corpus_of_videos, tmp_path / name, "textcnn", [0]),
            device="cuda",
            processes=processes_of_job,
            **changes,
        )
        subprocess.run(command(job, tmp_path / name, "launch"), check=True)
    one, two = (pq.read_table(tmp_path / name / "history.parquet")["loss"].to_pylist() for name in ("one", "two"))
    assert two == pytest.approx(one, rel=1e-3)


RANDOM: dict[str, Any] = {
    "augmentation": {"mixup": 0.5, "noise": 0.1},
    "optimisation": {"epochs": 3},
    "checkpoint_every": 2,
}


def test_going_on_together(corpus_of_sounds: Path, tmp_path: Path) -> None:
    """Two processes that stop between two checkpoints end as if they had never stopped, random numbers included."""
    folder = tmp_path / "part"
    assert side_by_side(lambda: sounds.train(corpus_of_sounds, tmp_path / "whole", "datar", [0], **RANDOM)) == [0, 0]
    assert side_by_side(lambda: until(5, corpus_of_sounds, folder)) == [1, 1]
    (checkpoint,) = (folder / "checkpoints").glob("*.pt")
    saved = checkpoint.read_bytes()
    assert side_by_side(lambda: sounds.train(corpus_of_sounds, folder, "datar", [0], **RANDOM)) == [0, 0]
    assert contents(folder) == contents(tmp_path / "whole")
    checkpoint.write_bytes(saved)  # one process can go on where two were
    sounds.train(corpus_of_sounds, folder, "datar", [0], **RANDOM)
    assert len(contents(folder)[2]) == len(contents(tmp_path / "whole")[2])


def until(steps: int, corpus: Path, folder: Path) -> None:
    """Trains until an accident."""
    with at_step(steps + 1, die):
        sounds.train(corpus, folder, "datar", [0], **RANDOM)


def test_each_process_has_random_numbers_of_its_own(tmp_path: Path) -> None:
    def draw() -> None:
        torch.manual_seed(3)
        processes.seed_apart(3)
        (tmp_path / str(processes.rank())).write_text(str(torch.rand(1).item()))
        (tmp_path / f"after-{processes.rank()}").write_text(str(processes.seed_apart(3, 7) or torch.rand(1).item()))

    def drawn_together() -> None:
        with processes.joined("cpu"):
            draw()

    assert side_by_side(drawn_together, 3) == [0, 0, 0]
    assert len({path.read_text() for path in tmp_path.iterdir()}) == 6
    torch.manual_seed(3)
    assert (tmp_path / "0").read_text() == str(torch.rand(1).item())  # the first one's are those of a single process


# The launcher


def last_child(process: int) -> int:
    """The youngest child of a process."""
    return int(Path(f"/proc/{process}/task/{process}/children").read_text().split()[-1])


def test_a_signal_to_one_process_stops_all(corpus_of_videos: Path, tmp_path: Path) -> None:
    """They go on at the step where they were, and end as if they had never stopped."""
    changes = {"optimisation": {"epochs": 40}, "checkpoint_seconds": 0}
    job = videos.job_of(corpus_of_videos, tmp_path / "killed", "moe", [0], processes=2, **changes)
    line = command(job, tmp_path / "killed", "launch")
    assert 0 < stopped(line, tmp_path / "killed", signal.SIGUSR1, last_child) < 400
    for name in ("killed", "whole"):
        assert side_by_side(partial(videos.train, corpus_of_videos, tmp_path / name, "moe", [0], **changes)) == [0, 0]
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_nodes_of_a_slurm_job_meet_on_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scontrol").write_text('#!/bin/sh\n[ "$*" = "show hostnames gpu[3,7]" ] && echo gpu3 && echo gpu7\n')
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_STEP_NODELIST", "gpu[3,7]")
    monkeypatch.setenv("SLURM_JOB_ID", "123456")
    assert meeting_point(2) == "gpu3:23456"
    assert meeting_point(1).startswith("127.0.0.1:")


def test_failures_of_launched_processes(corpus_of_videos: Path, tmp_path: Path) -> None:
    """Mistakes keep their sentences and exit code."""
    job = videos.job_of(corpus_of_videos, tmp_path, "moe", [0], processes=2)
    alone = {"system": "unigram", "settings": {}}
    counting = TrainingJob.check(job.model_dump() | alone, "toy")
    failed = subprocess.run(command(counting, tmp_path, "launch"), check=False, capture_output=True, text=True)
    assert failed.returncode == 1
    assert re.search(r"^error: unigram: trains in one process only", failed.stderr, re.M)
    for nodes, options, message in (
        (2, [], "this is no step of a SLURM job"),
        (1, ["--address", "here"], "expected host:port"),
    ):
        outside = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        line = [*command(job.model_copy(update={"nodes": nodes}), tmp_path, "launch"), *options]
        wrong = subprocess.run(line, check=False, capture_output=True, text=True, env=outside)
        assert wrong.returncode == 1 and message in wrong.stderr
