"""How far a run is, told by the logs and notes of a real Snakemake, while it works and afterwards."""

import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

from workflow_scripts.status import left, progress

ROOT = Path(__file__).parent.parent
WORKFLOW = """
import filelock
HELD = filelock.FileLock(".snakemake/encore.lock")
onstart:
    HELD.acquire()
rule all:
    input: "slow", "quick", "broken"
rule slow:
    output: "slow"
    message: "Waiting for a file"
    shell: "until [ -e go ]; do sleep 0.05; done; touch {output}"
rule quick:
    output: "quick"
    message: "Making a file at once"
    shell: "touch {output}"
rule broken:
    output: "broken"
    message: "Failing"
    shell: "exit 1"
"""
LOG = """\
  Date: 2026-11-28 10:00:00
Job stats:
job      count
-----  -------
train        3
score        2
total        5
[Sat Nov 28 10:00:00 2026]
Job 1: Training a
[Sat Nov 28 10:00:00 2026]
Job 2: Training b
[Sat Nov 28 10:01:40 2026]
Finished jobid: 1 (Rule: train)
"""


def status(folder: Path) -> str:
    """What the command says in a folder."""
    call = [sys.executable, "-m", "workflow_scripts.status"]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def until(folder: Path, words: str) -> str:
    """What it says when it says so."""
    limit = time.monotonic() + 60
    while words not in (said := status(folder)) and time.monotonic() < limit:
        time.sleep(0.1)
    return said


def test_a_run_while_it_works_and_afterwards(tmp_path: Path) -> None:
    assert "error: .snakemake/log: no run was made in this folder" in status(tmp_path)
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    call = [sys.executable, "-m", "snakemake", "--cores", "2", "--keep-going", "--nolock"]
    with subprocess.Popen(call, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
        said = until(tmp_path, "1 of 4 jobs done, 1 failed")
        (tmp_path / "go").touch()
    assert "quick: 1 of 1" in said and "slow: 0 of 1" in said
    assert ": Waiting for a file" in said and ": Failing" not in said
    assert "at least 0:00:0" in said and "slow has ended here yet" in said
    assert run.returncode == 1
    said = status(tmp_path)
    assert "2 of 4 jobs done, 1 failed" in said and said.endswith("it has ended\n")


def test_what_is_left_follows_from_what_jobs_took() -> None:
    """100 s of training a and of b until now; b needs nothing more, one more training 100 s, two scores 30 s each."""
    now = datetime(2026, 11, 28, 10, 1, 40)
    assert left(now, progress(LOG), {"train": [9.0], "score": [20.0, 40.0]}) == (
        "about 0:01:20 left, by what such jobs took and 2.0 of them at once"
    )
