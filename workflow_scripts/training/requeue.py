"""Ends as training ended; where it asked to be run again inside a SLURM job, that job is queued again first."""

import os
import subprocess
import sys
import time
from typing import Annotated

import typer

SECONDS_TO_END = 60  # within which SLURM ends a job that is queued again


def main(code: Annotated[int, typer.Argument(help="The exit code of training; 75 asks to be run again.")]) -> None:
    """A job that SLURM does not queue again ends with the code, and is run again by whoever started it."""
    job = os.environ.get("SLURM_JOB_ID")
    if code == os.EX_TEMPFAIL and job:
        print(f"asking SLURM to queue job {job} again", file=sys.stderr, flush=True)
        if subprocess.run(["scontrol", "requeue", job], check=False).returncode == 0:
            time.sleep(SECONDS_TO_END)
    sys.exit(code)


if __name__ == "__main__":
    typer.run(main)
