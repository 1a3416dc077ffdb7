"""What a run prints where nobody sits at a terminal: few lines, each of which names its job."""

import subprocess
import sys
from pathlib import Path

import pytest

from workflow_scripts import progress

ROOT = Path(__file__).parent.parent
WORK = """
import sys
from pathlib import Path
sys.path.insert(0, "rules")
import execute
from workflow_scripts import progress
progress.EVERY = 0
with execute.messages_in(Path(sys.argv[1]), True):
    for item in progress.progress("ab", "seed 0, epoch 1", unit="batch"):
        print(item)
"""


def test_quick_work_leaves_no_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one for every epoch of a training of a few seconds."""
    monkeypatch.setattr(progress, "EVERY", 3600)
    for epoch in range(20):
        assert [*progress.progress(range(3), f"epoch {epoch}")] == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_a_quick_transfer_leaves_no_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "EVERY", 3600)
    with progress.bar_of_bytes("weights.bin", 100, 20) as bar:
        bar.update(80)
    assert capsys.readouterr().err == ""


def test_lines_come_at_intervals_of_all_that_is_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work of 12 seconds an item and 4 items an epoch: a line after 36 seconds, and not one more for each epoch."""
    clock = iter(range(0, 10_000, 12))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(progress, "told", 0)
    for epoch in range(4):
        for _ in progress.progress(iter(range(4)), f"epoch {epoch}", 4, "batch"):
            pass
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "epoch 0: 3/4 batch [00:36<00:12]" and len(lines) == 6


def test_every_line_on_the_terminal_names_its_job(tmp_path: Path) -> None:
    log = Path("logs/mini/training/yt8m_text/moe_A.log")
    work = WORK.replace('"rules"', repr(str(ROOT / "rules")))
    call = [sys.executable, "-c", work, str(log)]
    here = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(call, cwd=tmp_path, env=here, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert len(lines) == 4 and all(line.startswith("mini/training/yt8m_text/moe_A: ") for line in lines)
    own = (tmp_path / log).read_text().splitlines()
    assert lines == [f"mini/training/yt8m_text/moe_A: {line}" for line in own]
    assert any(line.startswith("seed 0, epoch 1: 1/2 batch [") for line in own)
