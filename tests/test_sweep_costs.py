"""What sweeps cost is told before they start."""

import subprocess
import sys
from pathlib import Path

from workflow_scripts.plan.sweeps import told
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale

ROOT = Path(__file__).parent.parent


def scale_named(name: str, **settings: object) -> Scale:
    return Scale(ROOT, Config(**settings), name)


def test_a_plan_tells_what_its_sweeps_cost(tmp_path: Path) -> None:
    """Six values with five seeds each, of which a job trains five, an hour each."""
    targets = [f"results/full/boes_avsed/sweep_{name}.csv" for name in ("visual_alone", "auditory_alone")]
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    done = subprocess.run([*call, "--cores", "1", "-n", *targets], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "sweep visual_alone of boes_avsed (full): 6 values of network.projections.visual × 5 seeds = 30 trainings in "
        "6 jobs; at 60 minutes each 30.0 hours, on a GPU\n" in done.stderr
    )
    assert "2 sweeps: 60.0 hours of training together\n" in done.stderr
    done = subprocess.run([*call, "--cores", "1", "-n", "results/full/nora_fusion/table2.csv"], capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sweep" not in done.stderr + done.stdout


def test_seeds_and_devices_that_the_user_chose_count() -> None:
    target = "results/mini/boes_avsed/sweep_auditory_alone.csv"
    (sentence,) = told([target, target, "results/mini/boes_avsed/sweep_unknown.csv"], scale_named)
    assert "× 3 seeds = 18 trainings in 6 jobs; at 10 minutes each 3.0 hours" in sentence
    assert "GPU" not in sentence
    (sentence,) = told([target], lambda name: scale_named(name, seeds=1))
    assert "× 1 seeds = 6 trainings in 6 jobs; at 10 minutes each 60 minutes" in sentence
