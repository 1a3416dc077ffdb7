"""What the rule that trains does: it trains here, or in a process for each GPU of each node.

A job that is stopped by SLURM and has saved its work asks to be queued again.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from workflow_scripts.errors import StoppedError
from workflow_scripts.shards import atomic
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.stopping import handle, leave_on_signal
from workflow_scripts.training.train import train
from workflow_scripts.turns import TURNS, turns

SECONDS_TO_END = 60  # within which SLURM ends a job that is queued again


def train_job(job: TrainingJob, *outputs: Path) -> None:
    """Trains the seeds of a job; the outputs lie in one folder."""
    leave_on_signal()
    folder = outputs[0].parent
    try:
        if job.processes * job.nodes == 1:
            train(job, folder)
        else:
            train_together(job, folder)
    except StoppedError as stop:
        print(stop, file=sys.stderr)
        queue_again()
        raise


def train_together(job: TrainingJob, folder: Path) -> None:
    """Trains in several processes; each reads the description of the job from a file."""
    description = folder / ".job.json"
    with atomic(description) as temporary:
        temporary.write_text(job.model_dump_json(), encoding="utf-8")
    command = [sys.executable, "-m", "workflow_scripts.training.launch", str(description), str(folder)]
    spread = ["srun", "--ntasks-per-node=1"] if job.nodes > 1 else []
    launcher = subprocess.Popen([*spread, *command])
    handle(lambda number, _: launcher.send_signal(number))
    code = launcher.wait()
    if code == os.EX_TEMPFAIL:
        raise StoppedError("stopped from outside; run again to go on")
    if code:
        sys.exit(code)


def queue_again() -> None:
    """Asks SLURM, inside one of its jobs, to queue that job again; elsewhere whoever started it runs it again."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    if turns() >= TURNS:
        print(f"SLURM has queued job {job} again {turns()} times, and is not asked to do so once more", file=sys.stderr)
        return
    print(f"asking SLURM to queue job {job} again", file=sys.stderr, flush=True)
    if subprocess.run(["scontrol", "requeue", job], check=False).returncode == 0:
        time.sleep(SECONDS_TO_END)
