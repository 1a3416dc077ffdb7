"""How often SLURM has queued a job again: because it asked for that, was pre-empted, or lost its node.

SLURM itself knows no bound. A job that takes its node down with it would do so for ever.
"""

import os

from workflow_scripts.errors import UserError

TURNS = 30  # at most, of one submission


def turns() -> int:
    """How often this job was queued again; 0 outside of SLURM."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def check_turns() -> None:
    """Raises `UserError` once a job has had more turns than it may."""
    if turns() > TURNS:
        raise UserError(
            f"SLURM has queued this job again {turns()} times, more than {TURNS}: see in logs/slurm and with `sacct "
            "--duplicates` what ended it; give it more time or memory, or another partition, and run the same command "
            "again, which goes on from what is saved"
        )
