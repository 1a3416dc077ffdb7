"""How far a run is: what is done, at work and left, and when it may end.

`python -m workflow_scripts.status` tells it of the run in this folder, or of its last one.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Annotated

import filelock
import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.failures import failures, read_log

TIME = "%a %b %d %H:%M:%S %Y"  # as Snakemake writes it into its log


@dataclass
class Progress:
    """What a log tells of a run."""

    began: datetime
    jobs: Mapping[str, int]  # by rule
    seconds: dict[str, list[float]] = field(default_factory=dict)  # of those that are done, by rule
    at_work: dict[str, tuple[str, datetime]] = field(default_factory=dict)  # in words, and since when

    @property
    def done(self) -> dict[str, int]:
        """How many jobs of each rule."""
        return {rule: len(taken) for rule, taken in self.seconds.items()}


def progress(log: str) -> Progress:
    """What Snakemake's log says; a log that has no jobs yet is a `UserError`."""
    table = re.search(r"^job +count\n[- ]+\n(.*?)^total", log, re.MULTILINE | re.DOTALL)
    began = re.search(r"^  Date: (.+)$", log, re.MULTILINE)
    if table is None or began is None:
        raise UserError("the run has not planned its jobs yet, or had none to do")
    found = Progress(
        datetime.fromisoformat(began[1]),
        {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table[1], re.MULTILINE)},
    )
    now = found.began
    for stamp, job, words, done, rule, failed in re.findall(
        r"^(?:\[(\w+ \w+ +\d+ [\d:]+ \d+)\]|Job (\d+): (.+)|Finished jobid: (\d+) \(Rule: (\w+)\)| {4}jobid: (\d+))$",
        log,
        re.MULTILINE,
    ):
        if stamp:
            now = datetime.strptime(stamp, TIME)
        elif job:
            found.at_work[job] = (words, now)
        elif done:
            since = found.at_work.pop(done, ("", now))[1]
            found.seconds.setdefault(rule, []).append((now - since).total_seconds())
        else:
            found.at_work.pop(failed, None)
    return found


def seconds_before(metadata: Path) -> dict[str, list[float]]:
    """What jobs of each rule took, by what Snakemake notes of every file that was made in this folder."""
    found: dict[tuple[str, float], float] = {}
    for path in metadata.glob("*"):
        try:
            note = json.loads(path.read_text())
            found[note["rule"], note["starttime"]] = note["endtime"] - note["starttime"]
        except (OSError, ValueError, KeyError, TypeError):  # being written now, or a folder
            continue
    taken: dict[str, list[float]] = {}
    for (rule, _), seconds in found.items():
        taken.setdefault(rule, []).append(seconds)
    return taken


def left(now: datetime, found: Progress, before: Mapping[str, list[float]]) -> str:
    """How long the rest may take when as many jobs run at once as did so far, each as long as those of its rule did."""
    rest = Counter(found.jobs) - Counter(found.done)
    known = {rule: found.seconds.get(rule) or before.get(rule, []) for rule in rest}
    unknown = sorted(rule for rule, taken in known.items() if not taken and rule not in TARGETS)
    spent = [(now - since).total_seconds() for _, since in found.at_work.values()]
    work = sum(count * fmean(known[rule]) for rule, count in rest.items() if known[rule]) - sum(spent)
    total = sum(map(sum, found.seconds.values())) + sum(spent)
    at_once = max(1.0, total / max(1.0, (now - found.began).total_seconds()))
    about = f"{length(max(0.0, work) / at_once)} left, by what such jobs took and {at_once:.1f} of them at once"
    return f"at least {about}; none of {', '.join(unknown)} has ended here yet" if unknown else f"about {about}"


TARGETS = ("all", "downloads")  # rules that ask for files and make none


def length(seconds: float) -> str:
    """A time in hours, minutes and seconds."""
    return str(timedelta(seconds=round(seconds)))


def told(log: str, folder: Path, now: datetime, alive: bool) -> str:
    """The state of a run for people."""
    found, failed = progress(log), failures(log, folder)
    counts = f"{sum(found.done.values())} of {sum(found.jobs.values())} jobs done, {len(failed)} failed"
    lines = [f"since {found.began}: {counts}"]
    lines += [f"  {rule}: {found.done.get(rule, 0)} of {count}" for rule, count in found.jobs.items()]
    if not alive:
        ended = "it has ended" if re.search(r"^Complete log", log, re.MULTILINE) else "it was killed; run it again"
        return "\n".join([*lines, ended])
    lines += [
        f"at work for {length((now - since).total_seconds())}: {words}" for words, since in found.at_work.values()
    ]
    return "\n".join([*lines, left(now, found, seconds_before(folder / ".snakemake" / "metadata"))])


def main(
    log: Annotated[Path | None, typer.Option(help="Snakemake's log; by default that of the last run here.")] = None,
) -> None:
    """Tells what is done, at work and left, and when the run may end."""
    text = read_log(log)
    try:
        with filelock.FileLock(".snakemake/encore.lock", timeout=0):
            alive = False
    except filelock.Timeout:
        alive = log is None
    print(told(text, Path.cwd(), datetime.now(), alive))


if __name__ == "__main__":
    run(lambda: typer.run(main))
