"""A short part of what `killing.py` does: two kills of a run, and the same tables after each."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import killing
import power_cut
import pytest

pytestmark = pytest.mark.kills


def test_the_same_tables_after_two_kills(tmp_path: Path) -> None:
    """Of late stages, which end soon: a power cut while it trains, and a kill of Snakemake alone while it scores."""
    chosen = {"training": "power cut", "scoring": "snakemake"}
    found = killing.killed(tmp_path, len(chosen), 0, ways=list(chosen.values()), stages=list(chosen))
    assert [(point.stage, point.way, became) for point, became in found] == [
        (stage, way, "same") for stage, way in chosen.items()
    ]


def test_a_power_cut_takes_what_was_not_synced(tmp_path: Path) -> None:
    """And nothing else: what our own writer has written stays."""
    shutil.copy(power_cut.__file__, tmp_path / "sitecustomize.py")
    script = """
import os, pathlib
from workflow_scripts.shards import atomic
os.mkdir("loose")
for name in "abcdefgh":
    pathlib.Path(f"loose/torn-{name}").write_text("x" * 1000)
    pathlib.Path(f"loose/part-{name}").write_text("x" * 1000)
    os.replace(f"loose/part-{name}", f"loose/named-{name}")
    with atomic(pathlib.Path(f"safe/whole-{name}")) as temporary:
        temporary.write_text("x" * 1000)
"""
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{killing.ROOT}"}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    assert power_cut.cut(tmp_path, 0, random.Random(0))
    left = {path.name: path.stat().st_size for path in tmp_path.glob("[ls]*/*")}
    assert {name for name in left if name.startswith("whole") and left[name] == 1000} == {
        f"whole-{n}" for n in "abcdefgh"
    }
    assert any(left[name] < 1000 for name in left if name.startswith("torn"))
    assert any(name.startswith("part") for name in left)
