"""The rehearsal of the full scale: the whole plan, what its parts need, and whether they keep within it."""

import csv
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from workflow_scripts.rehearsal.estimate import Estimate, Spent, extrapolated, memory
from workflow_scripts.rehearsal.plan import Part, rehearse
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale

ROOT = Path(__file__).parent.parent
TABLE = "results/full/rehearsal.csv"
RULES = {  # of Snakemake, by stage
    "assets": ["fetch asset", "fetch model"],
    "unpacking": ["unpack archives"],
    "annotation": ["annotate corpus"],
    "downloads": ["fetch clips", "fetch records", "fetch text"],
    "decoding": ["decode audio"],
    "features": ["extract features"],
    "reductions": ["reduce features"],
    "training": ["train"],
    "scores": ["score"],
    "tables": [
        *("make table", "draw table", "check claims", "count clips", "count coverage"),
        *("export listening test", "collect ratings"),
    ],
    "figures": ["draw figure"],
    "tracking": ["sync tracking"],
}


def snakemake(folder: Path, *arguments: str, snakefile: Path = ROOT / "Snakefile") -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(folder)]
    call += ["--workflow-profile", "none", "--cores", "2"]
    return subprocess.run([*call, *arguments], capture_output=True, text=True, check=False)


def lines(folder: Path, table: str = TABLE) -> list[dict[str, str]]:
    with (folder / table).open(newline="") as file:
        return list(csv.DictReader(file))


def rehearsed(folder: Path, settings: str = "{minutes: 0.001}", **config: str) -> list[dict[str, str]]:
    """The table of a rehearsal; without a setting nothing is measured."""
    options = [f"{key}={value}" for key, value in config.items()]
    done = snakemake(folder, TABLE, "--config", f"rehearsal={settings}", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return lines(folder)


def test_it_rehearses_the_very_jobs_of_the_full_scale(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "-n", "all", "--config", "scale=full")
    planned = dict(re.findall(r"^ *([a-z_ ]+?) +(\d+) *$", (done.stdout + done.stderr).replace("_", " "), re.MULTILINE))
    wanted = {stage: sum(int(planned.get(rule, 0)) for rule in rules) for stage, rules in RULES.items()}
    found: Counter[str] = Counter()
    for part in rehearse(Scale(ROOT, Config(), "full")).parts:
        found[part.stage] += part.jobs
    assert found == wanted


def test_every_part_of_every_paper_has_a_line(tmp_path: Path) -> None:
    found = rehearsed(tmp_path)
    assert {line["paper"] for line in found} == {path.parent.name for path in ROOT.glob("papers/*/paper.yaml")}
    assert {line["stage"] for line in found} == set(RULES)
    texts = next(line for line in found if line["part"] == "youtube8m_2018, texts")
    assert (texts["how"], texts["within"]) == ("declared", "unknown")
    videos = 7_007_000  # 50 to a call, 300 calls an hour, after their ids
    assert float(texts["source_hours"]) == pytest.approx(videos / 50 / 300 + videos / 36_000, rel=0.01)
    trained = {line["part"]: line["how"] for line in found if line["stage"] == "training"}
    assert trained["image"] == "counted"  # without time for a step
    assert trained["ensemble_forest"] == "unknown"  # which learns without steps
    page = (tmp_path / TABLE).with_suffix(".md").read_text()
    assert all(f"| {line['part']} |" in page for line in found)


def test_the_pilot_is_rehearsed_too_and_takes_a_part_of_it_all(tmp_path: Path) -> None:
    pilot = "results/pilot/rehearsal.csv"
    options = ["--config", "rehearsal={minutes: 0.001}", "papers=[nora_fusion, boes_avsed]"]
    done = snakemake(tmp_path, TABLE, pilot, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    whole, part = (
        {(line["paper"], line["stage"], line["part"]): int(line["total"]) for line in lines(tmp_path, table)}
        for table in (TABLE, pilot)
    )
    learned = {key for key in part if key[1] in ("training", "scores")}
    assert learned == {key for key in whole if key[1] in ("training", "scores")}
    assert all(0 < part[key] < whole[key] / 3 for key in learned)


@pytest.mark.slow
def test_steps_are_run_at_small_sizes(tmp_path: Path) -> None:
    found = rehearsed(tmp_path, "{sizes: [1, 2], minutes: 30}", papers='["nora_fusion"]')
    of = {(line["stage"], line["part"]): line for line in found}
    scores = of["scores", "concatenation"]
    assert scores["how"] == "extrapolated"
    assert float(scores["memory_mb"]) > 50 and 0 <= float(scores["minutes"]) < 1
    assert scores["within"] == "yes"
    image, both = of["training", "image"], of["training", "concatenation"]
    assert (image["how"], image["within"]) == ("counted", "unknown")
    assert 0 < float(image["minutes"]) < float(both["minutes"])  # a picture alone, or a sound too
    assert "memory from steps of 2 and 4 clips" in image["note"] and float(image["gpu_mb"]) > 0
    assert (tmp_path / TABLE).with_suffix(".md").read_text().count("extrapolated") > 10


def benchmark(folder: Path, memory: float) -> None:
    """What Snakemake writes of two finished jobs of an experiment."""
    path = folder / "work" / "full" / "benchmarks" / "training" / "nora_fusion" / "image-seeds-0-4.tsv"
    path.parent.mkdir(parents=True)
    path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n1800.0\t0:30:00\t{memory}\t900.0\n")


def test_what_finished_jobs_have_used_replaces_estimates(tmp_path: Path) -> None:
    benchmark(tmp_path, 2000)
    found = rehearsed(tmp_path, papers='["nora_fusion"]')
    image = next(line for line in found if (line["stage"], line["part"]) == ("training", "image"))
    assert (image["how"], image["within"], image["note"]) == ("measured", "yes", "1 of 1 jobs have run")
    assert (image["memory_mb"], image["minutes"], image["cpu_hours"]) == ("2000", "30.0", "0.25")
    assert image["gpu_hours"] == "0.50"  # on the GPU that the job asks for


def test_a_job_that_would_break_its_limits_ends_it_with_one_sentence(tmp_path: Path) -> None:
    benchmark(tmp_path, 9000)
    done = snakemake(tmp_path, TABLE, "--config", "rehearsal={minutes: 0.001}", 'papers=["nora_fusion"]')
    assert done.returncode != 0
    sentence = "papers/nora_fusion: training of image would need 9000 MB of 8000 that it asks for"
    assert sentence in done.stdout + done.stderr
    assert "| training | image |" in (tmp_path / "logs" / "full" / "rehearsal.log").read_text()


@pytest.mark.parametrize(
    ("memory", "expected"), [([100, 200, 200], 200), ([100, 100, 200], 200 + 100 * (1024 - 64) / 48)]
)
def test_memory_follows_the_two_largest_sizes(memory: list[float], expected: float) -> None:
    """Buffers fill up at first."""
    part = Part(
        paper="a", stage="decoding", name="b", jobs=2, items=1024, total=2048, mem_mb=1, runtime=1, benchmarks=[]
    )
    runs = [Spent(size, 1 + size / 64, mb) for size, mb in zip((4, 16, 64), memory, strict=True)]
    found = extrapolated(part, runs)
    assert found.memory_mb == pytest.approx(expected)
    assert found.minutes == pytest.approx((1 + 16) / 60)
    assert found.cpu_hours == pytest.approx((2 + 32) / 3600)


@pytest.mark.parametrize(("minutes", "within"), [(3000, "yes"), (3001, "no")])
def test_training_goes_on_as_often_as_it_may_be_queued_again(minutes: float, within: str) -> None:
    asked: dict[str, Any] = {"jobs": 1, "mem_mb": 1000, "runtime": 100, "benchmarks": []}
    part = Part(paper="a", stage="training", name="b", turns=30, **asked)
    assert Estimate("measured", minutes=minutes, memory_mb=10).within(part) == within


def test_memory_that_still_grows_is_not_drawn_out_far() -> None:
    growing = [Spent(size, 1, mb) for size, mb in ((4, 100), (64, 200))]
    assert memory(growing, 6400) == pytest.approx(200 + 100 * (6400 - 64) / 60)
    assert memory(growing, 6401) is None
    assert memory([Spent(4, 1, 200), Spent(64, 1, 200)], 10**9) == 200


def test_sizes_must_grow(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "-n", TABLE, "--config", "rehearsal={sizes: [4, 2]}")
    assert done.returncode != 0
    assert "each must be larger than the one before" in done.stdout + done.stderr
