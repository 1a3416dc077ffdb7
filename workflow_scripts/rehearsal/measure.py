"""Runs a job in a process of its own and tells what it has used.

python -m workflow_scripts.rehearsal.measure job.json report.json OUTPUT …
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from workflow_scripts.errors import run
from workflow_scripts.files import read_json
from workflow_scripts.jobs import Job
from workflow_scripts.rehearsal import descriptions
from workflow_scripts.rehearsal.estimate import Spent

LOOK = 0.05  # seconds between two looks at the memory of a process and its children


def measured(job: Job, outputs: list[Path], size: int, folder: Path, seconds: float) -> Spent | None:
    """What a job of `size` items uses on one core; None if it takes longer than `seconds`, or fails."""
    folder.mkdir(parents=True, exist_ok=True)
    described, report = folder / "job.json", folder / "report.json"
    described.write_text(json.dumps(descriptions.written(job)), encoding="utf-8")
    one_core = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [sys.executable, "-m", "workflow_scripts.rehearsal.measure", str(described), str(report)]
    with (folder / "messages.log").open("w") as messages:
        process = subprocess.Popen(
            [*command, *map(str, outputs)], stdout=messages, stderr=messages, env=os.environ | one_core
        )
        peak = watched(process, time.monotonic() + seconds)
    if process.returncode != 0:
        return None
    found: dict[str, Any] = json.loads(report.read_text())
    stored = sum(path.stat().st_size for path in outputs if path.exists())
    peak = max(peak, found["memory_mb"])
    return Spent(size, found["seconds"], peak, stored, found["gpu_mb"])


def watched(process: subprocess.Popen[bytes], until: float) -> float:
    """The highest memory, MB, of a process and its children together; it is ended at the time `until`."""
    import psutil

    peak = 0.0
    while process.poll() is None:
        if time.monotonic() > until:
            process.kill()
            process.wait()
            break
        try:
            parent = psutil.Process(process.pid)
            peak = max(peak, sum(p.memory_info().rss for p in [parent, *parent.children(recursive=True)]) / 2**20)
        except psutil.Error:  # it has just ended
            pass
        time.sleep(LOOK)
    return peak


def main(
    described: Annotated[Path, typer.Argument(help="A job, as `descriptions` writes one.")],
    report: Annotated[Path, typer.Argument(help="Where to tell what it has used.")],
    outputs: Annotated[list[Path], typer.Argument(help="What the job makes.")],
) -> None:
    """Run a job and tell what it has used."""
    job: Job = descriptions.read(read_json(described))
    job.run(*outputs)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    status = Path("/proc/self/status").read_text()  # the highest of this program; getrusage's is of its parent too
    highest = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    found = {
        "seconds": sum(each.ru_utime + each.ru_stime for each in used),
        "memory_mb": highest / 1024,
        "gpu_mb": gpu_mb(),
    }
    report.write_text(json.dumps(found))


def gpu_mb() -> float:
    """The highest memory that PyTorch, if it was used, has had on a GPU."""
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_reserved() / 2**20 if torch and torch.cuda.is_available() else 0.0


if __name__ == "__main__":
    run(lambda: typer.run(main))
