"""What a training job has written, jobs that are stopped, and jobs of several processes, for tests."""

import contextlib
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
from safetensors.torch import load_file
from workflow_scripts.training.data import Inputs
from workflow_scripts.training.streamed_run import StreamedRun

from workflow_scripts.training import processes
from workflow_scripts.training.outputs import write_params
from workflow_scripts.training.stopping import SIGNALS


def contents(folder: Path) -> tuple[dict[str, bytes], list[dict[str, Any]], list[dict[str, Any]]]:
    """Weights, predictions and history, to be compared bit by bit."""
    weights = {key: value.numpy().tobytes() for key, value in load_file(folder / "weights.safetensors").items()}
    tables = [pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("predictions", "history")]
    return weights, tables[0], tables[1]


def train_into(
    folder: Path, system: Any, inputs: Inputs, seeds: list[int], device: str = "cpu", precision: str = "32-true"
) -> dict[str, Any]:
    """Trains inside this process and writes what a job writes, its checkpoints too; returns the facts."""
    folder.mkdir(parents=True, exist_ok=True)
    place = {"checkpoints": folder / "checkpoints", "device": device, "precision": precision}
    facts: dict[str, Any] = system.train(inputs, seeds, folder, **place)
    write_params(folder / "params.json", {"definition": system.model_dump(mode="json"), "seeds": seeds, **facts})
    return facts


def history(folder: Path) -> list[dict[str, Any]]:
    """What was recorded while training."""
    return pq.read_table(folder / "history.parquet").to_pylist()


def curve(folder: Path, name: str) -> list[float]:
    """One quantity of the history, where it was recorded."""
    return [row[name] for row in history(folder) if row.get(name) is not None]


def command(system: str, definition: dict[str, Any], folder: Path, *options: object) -> list[str]:
    """A training command whose checkpoints lie in its folder; `options` are its inputs and seeds."""
    return [
        *(sys.executable, "-m", "workflow_scripts.training.train", "--system", system, "--device", "cpu"),
        *("--definition", json.dumps(definition), "--output-dir", str(folder)),
        *("--checkpoint-dir", str(folder / "checkpoints"), *map(str, options)),
    ]


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
    """Sets back what signals do."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@contextlib.contextmanager
def signalled(run: type, step: int, number: signal.Signals) -> Iterator[None]:
    """Inside, this process gets a signal during a step, from 1, of a run."""
    whole = run.step
    steps: list[None] = []

    def last(*arguments: Any) -> Any:
        steps.append(None)
        if len(steps) == step:
            os.kill(os.getpid(), number)
        return whole(*arguments)

    with handlers_kept(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "step", last)
        yield


def check_going_on(
    line: list[str], folder: Path, train: Callable[[Path], Any], number: signal.Signals = signal.SIGTERM
) -> None:
    """A streamed job that is stopped goes on at the step where it was, and ends as if it had never stopped.

    `train` does the same as the command `line`, into any folder.
    """
    stopped_at = stopped(line, folder, number)
    train(folder.with_name("whole"))
    step = StreamedRun.step
    steps: list[int] = []

    def counting(run: StreamedRun, *batch: Any) -> None:
        steps.append(run.steps)
        step(run, *batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StreamedRun, "step", counting)
        train(folder)
    assert steps[0] == stopped_at > 0
    assert contents(folder) == contents(folder.with_name("whole"))


def side_by_side(work: Callable[[], Any], count: int = 2) -> list[int | None]:
    """Calls `work` in several processes that train together; their exit codes, 1 for an exception."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1]), "WORLD_SIZE": str(count)}

    def one(rank: int) -> None:
        os.environ.update(where | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        with processes.joined("cpu"):
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
