"""Which GPUs jobs take, on a machine whose driver is a script that lists some."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import test_video_tagger as videos
import torch
from training_files import command

from workflow_scripts.training.job import TrainingJob

JOB = (
    "import os; from workflow_scripts.devices import take; take({count}); "
    "print(os.environ.get('CUDA_VISIBLE_DEVICES'), flush=True); input()"
)


class Machine:
    """Jobs that run at the same time, each until it is ended."""

    def __init__(self, folder: Path, gpus: int) -> None:
        driver = folder / "bin" / "nvidia-smi"
        driver.parent.mkdir()
        driver.write_text("#!/bin/sh\n" + "".join(f"echo GPU-{number}\n" for number in range(gpus)))
        driver.chmod(0o755)
        own = {"PATH": f"{driver.parent}:{os.environ['PATH']}", "TMPDIR": str(folder)}
        hidden = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "WORLD_SIZE")
        self.environment = {name: value for name, value in os.environ.items() if name not in hidden} | own
        self.stack = ExitStack()

    def start(self, count: int = 1, **environment: str) -> "subprocess.Popen[str]":
        job = subprocess.Popen(
            [sys.executable, "-c", JOB.format(count=count)],
            env=self.environment | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stack.callback(end, job)
        return job

    def taken(self, count: int = 1, **environment: str) -> str:
        return seen(self.start(count, **environment))


def seen(job: "subprocess.Popen[str]") -> str:
    """The GPUs that a job has, once it has them."""
    assert job.stdout is not None
    return job.stdout.readline().strip()


def end(job: "subprocess.Popen[str]") -> None:
    job.kill()
    job.wait()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, 4)
    with made.stack:
        yield made


def test_jobs_take_different_gpus(machine: Machine) -> None:
    first = machine.start()
    assert [seen(first), machine.taken(2), machine.taken()] == ["GPU-0", "GPU-1,GPU-2", "GPU-3"]
    waiting = machine.start()
    end(first)
    assert seen(waiting) == "GPU-0"


def test_those_that_are_named_are_chosen_from(machine: Machine) -> None:
    some = {"CUDA_VISIBLE_DEVICES": "2,GPU-3"}
    assert [machine.taken(**some), machine.taken(), machine.taken(**some)] == ["GPU-2", "GPU-0", "GPU-3"]
    assert machine.taken(CUDA_VISIBLE_DEVICES="") == ""


def test_slurm_and_launchers_have_chosen(machine: Machine) -> None:
    given = {"CUDA_VISIBLE_DEVICES": "0"}
    assert [machine.taken(**given, SLURM_JOB_ID="7") for _ in range(2)] == ["0", "0"]
    assert machine.taken(**given, WORLD_SIZE="2") == "0"


def test_nothing_without_a_driver(machine: Machine) -> None:
    for _ in range(2):
        assert machine.taken(PATH="/nowhere") == "None"
        assert machine.taken(PATH="/nowhere", CUDA_VISIBLE_DEVICES="0") == "0"


def test_more_than_there_are(machine: Machine) -> None:
    job = machine.start(5)
    _, told = job.communicate()
    assert "5 GPUs are asked for, and this machine has 4" in told


def test_precision_of_products(tmp_path: Path) -> None:
    """TF32 is used if it is asked for, by convolutions too, and defines the result; the usual changes no identity."""
    corpus = videos.write_corpus(tmp_path)
    jobs = {name: videos.job_of(corpus, tmp_path, "moe", [0], matmul_precision=name) for name in ("highest", "high")}
    assert "matmul_precision" not in jobs["highest"].identity() and jobs["high"].digest() != jobs["highest"].digest()
    show = "; import torch; print(torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)"
    for name, used in (("highest", "highest False"), ("high", "high True")):
        line = command(jobs[name], tmp_path / name)
        script = (
            f"from workflow_scripts.training.train import main; from pathlib import Path; \
main(Path({line[-2]!r}), Path({line[-1]!r}))"
            + show
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.strip().splitlines()[-1] == used
        assert json.loads((tmp_path / name / "params.json").read_text())["matmul_precision"] == name
    assert isinstance(jobs["high"], TrainingJob) and torch.get_float32_matmul_precision() == "highest"
