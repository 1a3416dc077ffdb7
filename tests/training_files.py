"""Training jobs inside a test, what they leave, jobs that are stopped, and jobs of several processes."""

import contextlib
import importlib
import json
import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from workflow_scripts.settings.base import overlay
from workflow_scripts.settings.plugins import SYSTEMS
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.loop import Run
from workflow_scripts.training.stopping import SIGNALS
from workflow_scripts.training.train import train


def job_of(system: str, settings: dict[str, Any], given: dict[str, Any], changes: dict[str, Any]) -> TrainingJob:
    """A job on the CPU; `changes` are of what is given, or else of the settings."""
    own = {name: value for name, value in changes.items() if name in TrainingJob.model_fields}
    others = {name: value for name, value in changes.items() if name not in own}
    values = {"system": system, "settings": overlay(settings, others), "device": "cpu", **given, **own}
    return TrainingJob.check(values, "toy")


def shards_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def train_into(folder: Path, job: TrainingJob) -> dict[str, Any]:
    """Trains inside this process; returns params.json, which the first of several processes writes."""
    train(job, folder)
    written = folder / "params.json"
    return json.loads(written.read_text()) if written.exists() else {}


def fitting(job: TrainingJob) -> Any:
    """What the job's system does, its data opened."""
    return importlib.import_module(f"{SYSTEMS}.{job.system}.run").Fitting(job)


def first_run(job: TrainingJob, seed: int = 0) -> Any:
    """A run before its first step."""
    torch.manual_seed(seed)
    made = fitting(job)
    return made.start(made.system, job, made.data, seed)


def step_of(run: Run) -> Run:
    """The run after one step on the next batch of its epoch."""
    run.step(*run.on_device(next(run.batches())))
    return run


def contents(folder: Path) -> tuple[dict[str, bytes], list[dict[str, Any]], list[dict[str, Any]]]:
    """Weights, predictions and history, to be compared bit by bit."""
    weights = {key: value.numpy().tobytes() for key, value in load_file(folder / "weights.safetensors").items()}
    tables = [pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("predictions", "history")]
    return weights, tables[0], tables[1]


def history(folder: Path) -> list[dict[str, Any]]:
    """What was recorded while training."""
    return pq.read_table(folder / "history.parquet").to_pylist()


def curve(folder: Path, name: str) -> list[float]:
    """One quantity of the history, where it was recorded."""
    return [row[name] for row in history(folder) if row.get(name) is not None]


def command(job: TrainingJob, folder: Path, module: str = "train") -> list[str]:
    """The command that trains a job into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(job.model_dump_json())
    return [sys.executable, "-m", f"workflow_scripts.training.{module}", str(folder / "job.json"), str(folder)]


def stopped(line: list[str], folder: Path, number: signal.Signals, victim: Callable[[int], int] = int) -> int:
    """Sends a signal to a training command once it has a checkpoint; the step after which it says that it stopped.

    `victim` tells from the command's process the one that gets the signal.
    """
    job = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    while not list((folder / "checkpoints").glob("*.pt")):
        assert job.poll() is None
        time.sleep(0.01)
    os.kill(victim(job.pid), number)
    _, message = job.communicate(timeout=60)
    assert job.returncode == 75 and not (folder / "weights.safetensors").exists()
    (step,) = set(re.findall(rf"^stopped by {number.name} after step (\d+) of seed \d; run again", message, re.M))
    return int(step)


@contextlib.contextmanager
def handlers_kept() -> Iterator[None]:
    """Sets back what signals do, whatever is raised: programs of later tests would inherit that they are ignored."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def at_step(number: int, accident: Callable[[], None]) -> Iterator[list[int]]:
    """Inside, an accident happens in a step of this process, counted from 1; yields the places of all steps in runs."""
    whole = Run.step
    steps: list[int] = []

    def last(run: Run, *batch: Any) -> None:
        steps.append(run.steps)
        if len(steps) == number:
            accident()
        whole(run, *batch)

    with handlers_kept(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "step", last)
        yield steps


def die() -> None:
    """Ends a run without a chance to save anything."""
    raise KeyboardInterrupt


def side_by_side(work: Callable[[], Any], count: int = 2) -> list[int | None]:
    """Calls `work` in several processes that are to train together; their exit codes, 1 for an exception."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": str(count)}

    def one(rank: int) -> None:
        os.environ.update(where | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        work()

    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=one, args=(rank,)) for rank in range(count)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
        job.kill()
        job.join()
    return [job.exitcode for job in jobs]
