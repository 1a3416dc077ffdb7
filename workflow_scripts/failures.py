"""Why jobs of a run failed: from Snakemake's log, the jobs' own logs and what SLURM says, to a list for people.

`python -m workflow_scripts.failures` lists what failed in the last run of this folder.
"""

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts.errors import UserError, run

TAIL = 200_000  # characters at the end of a log that are read
# Signs of a cause in the logs of a job and in what SLURM says, the surest first.
CAUSES = (
    (r"CUDA out of memory|OutOfMemoryError", "CUDA out of memory: the job needs a larger GPU or a smaller batch"),
    (
        r"oom[-_ ]?kill|Out Of Memory|OUT_OF_MEMORY|[Ee]xceeded (?:job |step )?memory limit|MemoryError",
        "out of memory: raise mem_mb in resources.yaml, or in the experiment's cost",
    ),
    (r"DUE TO TIME LIMIT|=TIMEOUT", "time limit: run again to go on, or raise runtime in resources.yaml"),
    (r"DUE TO NODE FAILURE|=NODE_FAIL", "node failure: run again"),
    (r"DUE TO PREEMPTION|=PREEMPTED", "pre-empted by another job: run again to go on"),
    (r"run again to go on", "stopped from outside, its work is saved: run again to go on"),
    (r"No space left on device|Disk quota exceeded", "the disk is full"),
    (r"SLURM sbatch failed", "SLURM refused the job, see what it says in the log"),
    (r"CANCELLED AT|=CANCELLED", "cancelled"),
)
SENTENCE = r"^(error: (?!\*\*\*).+)"  # how our commands end when a person has to act
EXCEPTION = r"^(\w[\w.]*(?:Error|Exception|Interrupt)\b.*)"  # the last line of a traceback


@dataclass(frozen=True)
class Failure:
    """A job that failed for good."""

    rule: str
    job: str  # in words, such as which experiment of which paper it trains
    slurm: str | None
    logs: tuple[str, ...]
    cause: str


def failures(log: str, folder: Path) -> list[Failure]:
    """The jobs that a run in `folder` could not do, by the text of its Snakemake log; each as it failed last."""
    messages = dict(re.findall(r"^Job (\d+): (.+)$", log, re.MULTILINE))
    submitted = re.findall(r"^Job (\d+) has been submitted with SLURM jobid (\d+) \(log: (.+)\)", log, re.MULTILINE)
    last: dict[str, Failure] = {}
    for rule, block in re.findall(r"^Error in rule (\w+):\n((?: {4,}.*\n)*)", log, re.MULTILINE):
        fields = dict(re.findall(r"^ {4}(\w+): (.+)$", block, re.MULTILINE))
        number = fields.get("jobid", "")
        slurm, slurm_log = next(((job, path) for of, job, path in reversed(submitted) if of == number), (None, None))
        logs = [path.split(" (check log")[0] for path in fields.get("log", "").split(", ") if path]
        logs += [slurm_log] if slurm_log and slurm_log not in logs else []
        made = [folder / path for path in fields.get("output", "").split(", ") if path]
        if made and all(path.exists() for path in made):
            last.pop(number, None)  # it failed at first, and went well later
            continue
        texts = [*(tail(folder / path) for path in logs), block, slurm_says(slurm)]
        last[number] = Failure(rule, messages.get(number, rule), slurm, tuple(logs), cause(texts))
    return list(last.values())


def read_log(path: Path | None) -> str:
    """The text of a log of Snakemake's, by default that of the last run here; a `UserError` where none was made."""
    logs = sorted(Path(".snakemake/log").glob("*.snakemake.log"))
    if path is None and not logs:
        raise UserError(".snakemake/log: no run was made in this folder; name a log with --log")
    return (path or logs[-1]).read_text(encoding="utf-8", errors="replace")


def tail(path: Path) -> str:
    """The end of a log; nothing where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")[-TAIL:]
    except OSError:
        return ""


def slurm_says(job: str | None) -> str:
    """SLURM's own record of a job: of its controller, or, when that has forgotten the job, of its accounting."""
    calls = (["scontrol", "--oneliner", "show", "job"], ["sacct", "-X", "-n", "-P", "-o", "State", "-j"])
    for call in calls if job else ():
        if shutil.which(call[0]) is None:
            continue
        said = subprocess.run([*call, str(job)], capture_output=True, text=True, check=False)
        if said.returncode == 0 and said.stdout.strip():
            return said.stdout if "JobState=" in said.stdout else f"JobState={said.stdout}"
    return ""


def cause(texts: Sequence[str]) -> str:
    """The likely cause, from what the logs of a job say: the surest sign counts, and a sentence of ours before all."""
    text = "\n".join(texts)
    if sentences := re.findall(SENTENCE, text, re.MULTILINE):
        return str(sentences[-1])
    for sign, meaning in CAUSES:
        if re.search(sign, text):
            return meaning
    exceptions = [line for line in re.findall(EXCEPTION, text, re.MULTILINE) if "CalledProcessError" not in line]
    return str(exceptions[-1]) if exceptions else "unknown, see the log"


def listing(found: Sequence[Failure]) -> str:
    """Failures for people: one paragraph each."""
    paragraphs = [f"{len(found)} failed:"]
    for failure in found:
        slurm = f", SLURM job {failure.slurm}" if failure.slurm else ""
        lines = [f"{failure.job} (rule {failure.rule}{slurm})", f"  cause: {failure.cause}"]
        paragraphs.append("\n".join([*lines, *(f"  log: {path}" for path in failure.logs)]))
    return "\n".join(paragraphs)


def main(
    log: Annotated[Path | None, typer.Option(help="Snakemake's log; by default that of the last run here.")] = None,
) -> None:
    """Lists the jobs that failed: rule, experiment, SLURM job, logs and likely cause."""
    found = failures(read_log(log), Path.cwd())
    print(listing(found) if found else "nothing failed")


if __name__ == "__main__":
    run(lambda: typer.run(main))
