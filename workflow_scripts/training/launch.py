"""Starts the processes that train one network together, one for each GPU of this node, and ends as they do.

One node:       python -m workflow_scripts.training.launch job.json work/my-run
Several nodes:  srun --ntasks-per-node=1 python -m workflow_scripts.training.launch job.json work/my-run

The job (see training.train) tells the numbers of `processes` and `nodes`. Other than torchrun it hands SIGTERM and
SIGUSR1 on, waits for the checkpoint, and keeps the exit code 75.
"""

import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts.devices import take
from workflow_scripts.errors import UserError, run
from workflow_scripts.files import read_json
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.stopping import handle

GRACE = 30  # seconds that the others have to end after one that failed or was stopped


def main(
    job: Annotated[Path, typer.Argument(help="A TrainingJob as JSON.")],
    output_dir: Annotated[Path, typer.Argument(help="Where the results go.")],
    *,
    node: Annotated[int, typer.Option(min=0, envvar="SLURM_NODEID", help="This node's number, from 0.")] = 0,
    address: Annotated[str | None, typer.Option(help="host:port on node 0; by default SLURM's first node.")] = None,
) -> None:
    """Runs training.train in several processes."""
    described = TrainingJob.check(read_json(job), str(job))
    processes, nodes = described.processes, described.nodes
    host, _, port = (address or meeting_point(nodes)).rpartition(":")
    if not (host and port.isdecimal()):
        raise UserError(f"--address {address}: expected host:port")
    first = node * processes if nodes > 1 else 0
    group = {"WORLD_SIZE": nodes * processes, "LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": host, "MASTER_PORT": port}
    line = [sys.executable, "-m", "workflow_scripts.training.train", str(job), str(output_dir)]
    if described.device != "cpu":
        take(processes)
    children: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, _: object) -> None:
        for child in children:
            child.send_signal(number)

    handle(hand_on)
    try:
        for place in range(processes):
            own = {**group, "RANK": first + place, "LOCAL_RANK": place}
            children.append(subprocess.Popen(line, env=os.environ | {name: str(value) for name, value in own.items()}))
        sys.exit(outcome(children))
    finally:
        for child in children:
            child.kill()


def meeting_point(nodes: int) -> str:
    """Where the processes find each other: a free port of this node, or one of the first node of the SLURM job step."""
    if nodes == 1:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return f"127.0.0.1:{probe.getsockname()[1]}"
    try:
        listed = subprocess.run(
            ["scontrol", "show", "hostnames", os.environ["SLURM_STEP_NODELIST"]],
            capture_output=True,
            text=True,
            check=True,
        )
        return f"{listed.stdout.split()[0]}:{20_000 + int(os.environ['SLURM_JOB_ID']) % 20_000}"
    except (KeyError, OSError, subprocess.CalledProcessError):
        raise UserError(
            f"{nodes} nodes: this is no step of a SLURM job; say where they meet by --address host:port"
        ) from None


def outcome(children: Sequence[subprocess.Popen[bytes]]) -> int:
    """Waits for the processes; their exit code.

    75 if one of them asks to be run again, which it does only when the work is saved; else that of the first failure.
    """
    first, ended_at = 0, math.inf
    while any(child.poll() is None for child in children):
        if not first and (bad := [child.returncode for child in children if child.returncode]):
            first, ended_at = bad[0], time.monotonic()
        if time.monotonic() > ended_at + GRACE:
            for child in children:
                child.kill()
        time.sleep(0.1)
    codes = [child.returncode for child in children]
    if os.EX_TEMPFAIL in codes:
        return os.EX_TEMPFAIL
    first = first or next((code for code in codes if code), 0)
    return first if first >= 0 else 128 - first  # as shells name what a signal killed


if __name__ == "__main__":
    run(lambda: typer.run(main))
