"""The rehearsal of the full scale: the whole plan, what its parts need, and whether they keep within it."""

import csv
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

from workflow_scripts.rehearsal.plan import rehearse
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
        *("make table", "draw table", "check claims", "count coverage"),
        *("export listening test", "collect ratings"),
    ],
    "figures": ["draw figure"],
    "tracking": ["sync tracking"],
}


def snakemake(folder: Path, *arguments: str, snakefile: Path = ROOT / "Snakefile") -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), "--directory", str(folder)]
    call += ["--workflow-profile", "none", "--cores", "2"]
    return subprocess.run([*call, *arguments], capture_output=True, text=True, check=False)


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / TABLE).open(newline="") as file:
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
    assert float(texts["source_hours"]) > 7_007_000 / 300
    page = (tmp_path / TABLE).with_suffix(".md").read_text()
    assert all(f"| {line['part']} |" in page for line in found)
