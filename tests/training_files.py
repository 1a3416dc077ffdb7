"""What a training job has written, and jobs that are stopped, for tests."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from workflow_scripts.training.streamed_run import StreamedRun


def contents(folder: Path) -> tuple[dict[str, bytes], list[dict[str, Any]], list[dict[str, Any]]]:
    """Weights, predictions and history, to be compared bit by bit."""
    weights = {key: value.numpy().tobytes() for key, value in load_file(folder / "weights.safetensors").items()}
    tables = [pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("predictions", "history")]
    return weights, tables[0], tables[1]


def command(system: str, definition: dict[str, Any], folder: Path, *options: object) -> list[str]:
    """A training command whose checkpoints lie in its folder; `options` are its inputs and seeds."""
    return [
        *(sys.executable, "-m", "workflow_scripts.training.train", "--system", system, "--device", "cpu"),
        *("--definition", json.dumps(definition), "--output-dir", str(folder)),
        *("--checkpoint-dir", str(folder / "checkpoints"), *map(str, options)),
    ]


def stopped(line: list[str], folder: Path) -> str:
    """Sends SIGTERM to a training command once it has a checkpoint; what it says then."""
    job = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    while not list((folder / "checkpoints").glob("*.pt")):
        assert job.poll() is None
        time.sleep(0.01)
    job.send_signal(signal.SIGTERM)
    _, message = job.communicate(timeout=30)
    assert job.returncode != 0 and not (folder / "weights.safetensors").exists()
    return message


def check_going_on(line: list[str], folder: Path, train: Callable[[Path], Any]) -> None:
    """A streamed job that is stopped goes on at the step where it was, and ends as if it had never stopped.

    `train` does the same as the command `line`, into any folder.
    """
    stopped_at = int(stopped(line, folder).split("stopped by SIGTERM after step ")[1].split()[0])
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
