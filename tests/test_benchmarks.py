"""The benchmarks: each stage at a tiny size, and what the command writes, in a process of its own as documented."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from known_stage import HELD, SPUN

from benchmarks import gpu, harness, report
from benchmarks.stage import module, stages
from workflow_scripts.rehearsal import training
from workflow_scripts.rehearsal.estimate import Spent
from workflow_scripts.rehearsal.plan import Part

ROOT = Path(__file__).parent.parent
OTHERS = {
    "sed_baselines": "--help",  # needs a finished run, which test_workflow.py gives it
    "sound_and_pictures": "--help",  # the same
    "table_evidence": "--videos 40 --growth 2 --steps 2 --replicates 5 --classes 100 --top 20",
}
PARTS = {"__main__", "films", "gpu", "harness", "report", "stage", "youtube8m"}


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", sorted({path.stem for path in (ROOT / "benchmarks").glob("*.py")} - PARTS))
def test_a_script_runs(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", *OTHERS[name].split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("name", [name for name in stages() if name != "planning"])  # test_docs.py plans the same
def test_a_stage_runs(name: str) -> None:
    """Every contender works, is measured, and has our results where it should."""
    stage = stages()[name]
    rows = harness.measure(module(name), 2 / stage.size, 1)
    assert [row.contender for row in rows] == list(stage.contenders)
    for row in rows:
        assert row.status == "measured", row
        assert len(row.cpu) == len(row.wall) == 1
        assert row.peak_mb > row.work_mb >= 0
        compared = stage.same is not None and row.contender in stage.peers and row.contender not in stage.unlike
        assert bool(row.same) == compared
    assert not harness.faults(rows)


def test_the_command_writes_its_figures_into_the_page(tmp_path: Path) -> None:
    """A table between the page's marks, a picture, and all repetitions."""
    done = benchmarks("--only", "sed_scores", "--size", "0.01", "--repeats", "3", "--output", str(tmp_path))
    assert done.returncode == 0, done.stderr
    page, plain = (tmp_path / "benchmarks.md").read_text(), (ROOT / "docs" / "benchmarks.md").read_text()
    assert page.split(report.BEGIN)[0] == plain.split(report.BEGIN)[0]
    assert page.split(report.END)[1] == plain.split(report.END)[1]
    assert "scores of sound event detection: 4 clips" in page
    assert str(tmp_path) not in page
    assert (tmp_path / "benchmarks.png").read_bytes().startswith(b"\x89PNG")
    found = report.Results.model_validate(json.loads((tmp_path / "benchmarks.json").read_text()))
    assert [row.contender for row in found.stages["sed_scores"]] == ["ours", "sed_eval"]
    assert all(len(row.cpu) == 3 for row in found.stages["sed_scores"])
    assert f"]({report.PICTURE})" in page


def test_what_grows_is_measured_on_request() -> None:
    """Ours alone, at three sizes."""
    done = benchmarks("--only", "sed_scores", "--size", "0.02", "--repeats", "1", "--growth")
    assert done.returncode == 0, done.stderr
    assert "| scores of sound event detection | 2, 8, 32 clips |" in done.stdout


def test_growth_is_that_of_a_unit() -> None:
    rows = [harness.Row(contender="ours", units=n, cpu=[n / 10], wall=[1], work_mb=n) for n in (1, 4)]
    slower = harness.Row(contender="ours", units=16, cpu=[3.2], wall=[1], work_mb=16)
    *_, line = report.growth_table({"log_mel": [*rows, slower]}, stages())
    assert line.endswith("| 1, 4, 16 clips of 10 s | 100 | 1.00 | 2.00 | 1 | 4 | 16 |")
    *_, line = report.growth_table({"log_mel": [*rows, harness.Row(contender="ours", status="failed: x")]}, stages())
    assert "| failed: x |" in line


def test_a_part_of_the_run_leaves_the_docs_alone() -> None:
    before = (ROOT / "docs" / "benchmarks.md").read_bytes()
    done = benchmarks("--only", "sed_scores", "--size", "0.01", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    assert "| **ours** |" in done.stdout
    assert (ROOT / "docs" / "benchmarks.md").read_bytes() == before


def test_a_stage_that_is_not_there_is_a_sentence() -> None:
    done = benchmarks("--only", "logmel")
    assert done.returncode == 1
    assert done.stderr == "error: --only: there is no stage 'logmel'; did you mean 'log_mel'?\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="trains full-size networks where there is a GPU")
def test_without_a_gpu_a_sentence_says_so() -> None:
    done = benchmarks("--only", "sed_scores", "--size", "0.01", "--repeats", "1", "--gpu")
    assert done.returncode == 0, done.stderr
    assert "There is no CUDA GPU here" in done.stdout


REPEATS = 3


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, harness.Row], list[str]]:
    """The rows of a stage of which all is known, and in which order its contenders worked."""
    turns = tmp_path_factory.mktemp("known") / "turns"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TURNS", str(turns))
        rows = harness.measure("known_stage", 0.5, REPEATS)
    return {row.contender: row for row in rows}, turns.read_text().split()


Known = tuple[dict[str, harness.Row], list[str]]


def test_cpu_time_and_memory_are_those_of_programs_too(known: Known) -> None:
    rows, _ = known
    assert len(rows["a program"].cpu) == REPEATS
    assert rows["a program"].seconds > SPUN
    assert rows["a program"].work_mb > 0.9 * HELD / 1e6
    assert rows["asleep"].seconds < SPUN < min(rows["asleep"].wall)
    assert rows["a program"].same == "differs by at most 0"
    assert rows["a program"].units == 5


def test_an_iterator_is_run_to_its_end(known: Known) -> None:
    assert known[0]["an iterator"].seconds > 0.9 * SPUN


def test_a_peer_that_is_not_there_fails_or_differs_is_told(known: Known) -> None:
    """And the others are measured; of limits, and of peers that are others by intention, results are not compared."""
    rows, _ = known
    assert rows["missing"].status == "not installed"
    assert rows["failing"].status == "failed: division by zero"
    assert rows["failing later"].status == "failed: division by zero"
    assert rows["killed"].status == "failed: its process ended (exit code 3)"
    assert not any(rows[name].cpu for name in ("missing", "failing", "failing later", "killed"))
    assert len(rows["ours"].cpu) == REPEATS
    assert rows["other"].same == "DIFFERENT: differs by 1"
    assert rows["an iterator"].same == rows["limit"].same == ""
    assert harness.faults(list(rows.values())) == [
        "other: DIFFERENT: differs by 1",
        "failing failed: division by zero",
        "failing later failed: division by zero",
        "killed failed: its process ended (exit code 3)",
    ]


def test_they_work_in_turn_on_one_thread(known: Known) -> None:
    _, turns = known
    assert turns[-3 * REPEATS :] == ["ours:1", "other:1", "limit:1"] * REPEATS


def test_a_ratio_and_its_spread() -> None:
    """Medians, so that one disturbed repetition changes nothing; the quartiles tell how disturbed they were."""
    ours = harness.Row(contender="ours", units=10, cpu=[1, 1, 9], wall=[1, 1, 9])
    peer = harness.Row(contender="peer", units=10, cpu=[2, 4, 3, 2, 5], wall=[2, 4, 3, 2, 5], peak_mb=20, work_mb=5)
    assert (ours.rate, peer.rate) == (10, pytest.approx(10 / 3))
    assert report.cells(peer, ours) == ["peer", "3.33", "3.00", "3", "3", "± 33 %", "20 (5)"]
    assert report.cells(harness.Row(contender="gone", status="not installed"), ours)[:2] == ["gone", "not installed"]


def test_full_size_networks_are_measured_once_in_two_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU; here a number stands in the place of the steps, and the first network cannot be measured."""
    measured = []

    def runs(part: Part, folder: Path, left: Callable[[], float]) -> list[Spent]:
        measured.append((training.key(part), part.example.precision))
        batch = training.batch_of(part.example.settings)
        return [Spent(batch, 1.0, 1.0, gpu_mb=2000, speed=3.0 * batch)] if len(measured) > 1 else []

    monkeypatch.setattr(training, "runs", runs)
    failed, *found = gpu.measure(lambda said: None)
    assert failed.steps is None and failed.note
    assert len(set(measured)) == len(measured) == len(found) + 1
    assert {one.paper for one in found} == {path.name for path in (ROOT / "papers").iterdir()}
    assert {one.precision for one in found} == {"32-true", "bf16-mixed"}
    assert all(one.steps == pytest.approx(3) and one.gpu_mb == 2000 for one in found)
    table = list(report.gpu_table([failed, *found]))
    assert table[2].endswith(f"| {failed.note} | |")
    assert table[3].endswith("| 3 | 2,000 |")
