"""Whose turn it is: jobs that a killed Snakemake has left at work, and jobs that SLURM queues again and again."""

import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest

from workflow_scripts.jobs import INPUT, Job
from workflow_scripts.settings.base import MANNER
from workflow_scripts.training import step
from workflow_scripts.turns import TURNS

ROOT = Path(__file__).parent.parent


class Slow(Job):
    """Tells that it has begun, and ends when there is a file `go`."""

    step = "test_turns:slow"
    expensive = True

    source: Annotated[Path, INPUT]
    folder: Annotated[Path, MANNER]


def slow(job: Slow, output: Path) -> None:
    with (job.folder / "begun").open("a") as file:
        file.write("once\n")
    until((job.folder / "go").exists)
    output.write_text("made")


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts the rule's script with a slow job, as Snakemake does in a folder."""
    (tmp_path / "source").write_text("x")
    job = Slow(source=tmp_path / "source", folder=tmp_path)
    own = {"output": ["out"], "log": ["job.log"], "threads": 1, "rule": "slow", "wildcards": {}}
    (tmp_path / "given").write_bytes(pickle.dumps(SimpleNamespace(params=SimpleNamespace(job=job), **own)))
    script = "import pickle, runpy; given = {'snakemake': pickle.load(open('given', 'rb'))}; "
    script += f"runpy.run_path({str(ROOT / 'rules' / 'execute.py')!r}, given, '__main__')"

    def begin(**environment: str) -> subprocess.Popen[str]:
        paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        call = [sys.executable, "-c", script]
        return subprocess.Popen(call, cwd=tmp_path, env=paths | environment, stderr=subprocess.PIPE, text=True)

    return begin


def told(process: subprocess.Popen[str]) -> str:
    """The next line that a process writes."""
    assert process.stderr is not None
    return process.stderr.readline()


def test_a_job_that_outlives_its_snakemake_is_waited_for_and_not_made_again(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    with start() as left:
        until((tmp_path / "begun").exists)
        with start() as again:
            assert told(again) == "out: a job of an earlier run is still making it, and is waited for\n"
            (tmp_path / "go").touch()
            assert (left.wait(), again.wait()) == (0, 0)
    assert (tmp_path / "begun").read_text() == "once\n"
    assert (tmp_path / "job.log").read_text() == "nothing that defines this result has changed: it is left as it is\n"


def test_a_job_whose_process_was_killed_is_not_waited_for(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    with start() as left:
        until((tmp_path / "begun").exists)
        with start() as again:
            told(again)
            left.kill()
            until(lambda: (tmp_path / "begun").read_text() == "once\nonce\n")
            (tmp_path / "go").touch()
            assert again.wait() == 0
    assert (tmp_path / "out").read_text() == "made"


def test_parts_that_were_left_on_another_node_go(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    kept = [tmp_path / ".out.part", tmp_path / ".outer.node7.1.part"]  # a download's, another file's
    for path in (tmp_path / ".out.node7.1.part", *kept, tmp_path / "go"):
        path.touch()
    with start() as job:
        assert job.wait() == 0
    assert sorted(tmp_path.glob("*.part")) == kept


def test_slurm_queues_a_job_again_only_so_often(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    with start(SLURM_JOB_ID="7", SLURM_RESTART_COUNT=str(TURNS + 1)) as job:
        assert job.wait() == 1
    assert f"queued this job again {TURNS + 1} times" in (tmp_path / "job.log").read_text()
    assert not (tmp_path / "out").exists()
    with start(SLURM_JOB_ID="7", SLURM_RESTART_COUNT=str(TURNS)) as job:
        assert job.wait() == 0


@pytest.mark.parametrize(("restarts", "asks"), [(0, True), (TURNS - 1, True), (TURNS, False)])
def test_a_stopped_job_asks_for_so_many_turns(
    restarts: int, asks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    (tmp_path / "scontrol").chmod(0o755)
    for name, value in {"PATH": tmp_path, "SLURM_JOB_ID": 7, "SLURM_RESTART_COUNT": restarts}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(step, "SECONDS_TO_END", 0)
    step.queue_again()
    assert (tmp_path / "asked").exists() == asks
