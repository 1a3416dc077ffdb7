"""What the rules run: the job that is described in their params, with its messages in the rule's log.

A step can be debugged alone, in Python: describe its job and call it, for example

    from workflow_scripts.media.plan import DecodeAudio
    audio = {"sample_rate": 16_000, "clip_seconds": 10}
    DecodeAudio(clips="clips/0.parquet", store=".", audio=audio).run(Path("0.parquet"))
"""

import contextlib
import fcntl
import glob
import hashlib
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflow_scripts import stamps
from workflow_scripts.errors import run
from workflow_scripts.jobs import Job
from workflow_scripts.turns import check_turns

NAMED_LINES = """tee "$1" | while IFS= read -r line; do [ -z "$line" ] || printf '%s: %s\\n' "$2" "$line"; done"""


def execute(snakemake: Any) -> None:
    """Runs the job that Snakemake hands over."""
    sys.stdout.reconfigure(line_buffering=True)  # so that its lines stand before an error that follows
    job: Job = snakemake.params.job.model_copy(update={"threads": snakemake.threads})
    outputs = [Path(path) for path in snakemake.output]

    def work() -> None:
        check_turns()
        key = stamps.key(job) if job.expensive else ""
        if job.expensive and stamps.current(outputs, key):
            print("nothing that defines this result has changed: it is left as it is", file=sys.stderr)
            return
        job.run(*outputs)
        if job.expensive:
            stamps.stamp(outputs, key)

    words = [value for key, value in snakemake.wildcards.items() if key != "scale"]
    with alone(outputs), messages_in(Path(snakemake.log[0]), " ".join([snakemake.rule, *words]) if job.verbose else ""):
        run(work)


@contextlib.contextmanager
def alone(outputs: list[Path]) -> Iterator[None]:
    """Inside, no other process makes the outputs: a job that outlived its killed Snakemake is waited for.

    The lock ends with the process that holds it, on whatever node, and its children have no part in it. Parts of the
    outputs, which a killed process has left on any node, are removed.
    """
    place = Path(".snakemake", "encore-jobs", hashlib.sha256(os.fsencode(outputs[0])).hexdigest()[:32])
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            print(f"{outputs[0]}: a job of an earlier run is still making it, and is waited for", file=sys.stderr)
            fcntl.lockf(lock, fcntl.LOCK_EX)
        for output in outputs:
            for left in output.parent.glob(f".{glob.escape(output.name)}.*.part"):
                left.unlink(missing_ok=True)
        yield


@contextlib.contextmanager
def messages_in(log: Path, shown_as: str) -> Iterator[None]:
    """Inside, all that this process and its children print goes to a log, and line by line to the terminal as well.

    There, where the lines of several jobs mix, each begins with `shown_as`; if that is empty, nothing goes there.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if not shown_as:
        with log.open("w") as file:
            redirect(file.fileno())
        yield
        return
    terminal = os.dup(2)
    command = ["sh", "-c", NAMED_LINES, "sh", str(log), shown_as]
    tee = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=terminal, preexec_fn=outlive)  # noqa: PLW1509 - no threads yet
    if tee.stdin is not None:
        redirect(tee.stdin.fileno())
        tee.stdin.close()
    try:
        yield
    except Exception:  # noqa: BLE001 - of which the log must tell, too
        traceback.print_exc()
        sys.exit(1)
    finally:
        sys.stderr.flush()
        redirect(terminal)
        with contextlib.suppress(subprocess.TimeoutExpired):  # a helper of multiprocessing may hold the pipe open
            tee.wait(timeout=1)


def redirect(descriptor: int) -> None:
    """Lets standard output and standard error go where a file descriptor leads."""
    sys.stdout.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def outlive() -> None:
    """A child that lives until the last message: signals go to the job's whole group."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":  # and not in the processes that a job starts
    execute(snakemake)  # noqa: F821 - Snakemake provides it
