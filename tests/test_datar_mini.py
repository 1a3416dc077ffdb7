"""DATAR at the mini scale: what is looked at while it learns, and what its tables need."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.training import plan

ROOT = Path(__file__).parent.parent
SCALES = ("full", "pilot", "mini", "smoke")
COUNTED = ("vgg_datar_small", "vgg_datar_tiny")  # not trained
TRAINED = [name for name in Scale(ROOT, Config(), "mini").paper("datar").experiments if name not in COUNTED]


@pytest.mark.parametrize("experiment", TRAINED)
def test_no_test_clip_is_looked_at_while_learning(experiment: str) -> None:
    """The full scale records what the paper has, the accuracy on its test clips, and chooses nothing by it."""
    split = {scale: plan.system(Scale(ROOT, Config(), scale), "datar", experiment).validation_split for scale in SCALES}
    assert split == {"full": "test", "pilot": "test", "mini": "validation", "smoke": "validation"}


def test_table_3_needs_one_corpus_only(tmp_path: Path) -> None:
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
    call += ["--workflow-profile", str(ROOT / "profiles" / "default"), "--cores", "2", "-n"]
    done = subprocess.run([*call, "results/mini/datar/table3.csv"], capture_output=True, text=True, check=True)
    jobs = dict(re.findall(r"^ ([a-z ]+?) +(\d+) *$", done.stdout + done.stderr, re.MULTILINE))
    assert (jobs["compose corpus"], jobs["train"]) == ("1", "4")


@pytest.mark.parametrize(("scale", "used"), [("full", {"initial": "vgg_slowfast"}), ("mini", {})])
def test_a_scale_can_do_without_another_experiment(scale: str, used: dict[str, str]) -> None:
    assert Scale(ROOT, Config(), scale).paper("datar").experiments["epic_slowfast"].uses == used
