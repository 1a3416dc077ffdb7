"""Every benchmark runs: at a tiny size, as it is documented, in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TINY = {
    "deformable_attention": "--size tiny --frames 64 --bands 64 --repeats 1",
    "log_mel": "--clips 2 --rounds 1",
    "moe_step": "--clips 16 --batch 4",
    "multilabel_metrics": "--videos 50 --many 100 --classes 40 --replicates 5",
    "record_reader": "--video-examples 20 --frame-examples 2 --rounds 1",
    "sed_baselines": "--help",  # needs a finished run, which test_workflow.py gives it
    "sed_metrics": "--clips 4 --repeats 1",
    "sound_and_pictures": "--help",  # the same
    "stacked_seeds": "--seeds 2 --steps 1",
    "table_evidence": "--videos 40 --growth 2 --steps 2 --replicates 5 --classes 100 --top 20",
}


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py")))
def test_a_benchmark_runs(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", *TINY[name].split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
