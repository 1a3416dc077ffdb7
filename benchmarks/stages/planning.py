"""A dry run of the full scale: `snakemake -n results/table3.csv --config scale=full`."""

import subprocess
import sys
from pathlib import Path

from benchmarks.stage import Stage, Work

ROOT = Path(__file__).parents[2]


def prepare(folder: Path, plans: int) -> None:
    """Snakemake keeps its notes in the folder where it is started, which is ours."""


def running(*arguments: str) -> Work:
    def work() -> None:
        command = [sys.executable, "-m", "snakemake", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stdout + done.stderr).strip().splitlines()[-1])

    return work


def ours(_: Path) -> Work:
    return running("-n", "results/table3.csv", "--config", "scale=full")


def start(_: Path) -> Work:
    return running("--help")


STAGE = Stage(
    place=100,
    title="planning the full scale (dry run of table3.csv)",
    unit="plans",
    size=1,
    prepare=prepare,
    ours=ours,
    peers={},
    limit=("Snakemake starts, and tells its options", start),
    same=None,
    repeats=3,
)
