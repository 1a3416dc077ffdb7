"""What jobs ask a machine or a cluster for: at all scales, from costs, growing with attempts; what needs a network."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from workflow_scripts.plan.resources import asks
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.resources import Stages
from workflow_scripts.settings.scale import Scale
from workflow_scripts.training.plan import seed_groups, train

ROOT = Path(__file__).parent.parent
RULES = "\n".join(path.read_text() for path in sorted((ROOT / "rules").glob("*.smk")))
JOBS = re.findall(r"^rule (\w+):\n((?:(?: {4}.*)?\n)+)", RULES, re.MULTILINE)
TRAINING = {"paper": "boes_avsed", "experiment": "SAV", "group": "seeds-0-4"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what a plan is made from, to be changed."""
    for name in ("assets.yaml", "corpora.yaml", "resources.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "papers", tmp_path / "papers")
    return tmp_path


def costing(project: Path, cost: dict[str, float], **others: object) -> Scale:
    """The full scale with a cost of SAV."""
    path = project / "papers" / "boes_avsed" / "paper.yaml"
    paper = yaml.safe_load(path.read_text())
    paper["experiments"]["SAV"] |= {"cost": cost, **others}
    path.write_text(yaml.safe_dump(paper, sort_keys=False))
    return Scale(project, Config(), "full")


@pytest.mark.parametrize(("rule", "text"), JOBS)
def test_every_rule_asks_for_what_its_stage_needs(rule: str, text: str) -> None:
    resources = re.search(r'\*\*asks\("(\w+)"\)', text)
    threads = re.search(r'threads: threads_of\("(\w+)"\)', text)
    assert resources and threads and resources[1] == threads[1] and resources[1] in Stages.model_fields


def test_what_fetches_has_a_slot_and_is_marked() -> None:
    stages = Stages.load(ROOT / "resources.yaml", "full")
    for rule, text in JOBS:
        stage = re.findall(r'\*\*asks\("(\w+)"\)', text)[0]
        assert getattr(stages, stage).network == ("downloads=1" in text), rule


def test_the_site_profile_names_the_rules_that_need_a_network() -> None:
    profile = (ROOT / "profiles" / "slurm" / "config.yaml").read_text()
    named = set(re.findall(r"^#   (\w+): \{slurm_partition: transfer\}", profile, re.MULTILINE))
    assert named == {rule for rule, text in JOBS if "downloads=1" in text}


@pytest.mark.parametrize("scale", ["full", "pilot", "mini", "smoke"])
def test_memory_and_time_grow_with_attempts(scale: str) -> None:
    here = Scale(ROOT, Config(), scale)
    group = next(iter(seed_groups(here, "boes_avsed", "SAV")))
    for stage in Stages.model_fields:
        wildcards = TRAINING | {"group": group, "feature": "spectral"}
        first, third = (asks(here, stage, wildcards, attempt) for attempt in (1, 3))
        for key in ("mem_mb", "runtime"):
            assert third.pop(key) == 3 * first.pop(key)
        assert first == third


def test_only_networks_are_given_a_gpu_for_features() -> None:
    scale = Scale(ROOT, Config(), "full")
    gpus = {name: asks(scale, "features", TRAINING | {"feature": name}, 1)["gpu"] for name in ("visual", "spectral")}
    assert gpus == {"visual": 1, "spectral": 0}


def test_no_gpu_is_asked_for_where_none_is_to_be_used() -> None:
    scale = Scale(ROOT, Config(device="cpu"), "full")
    assert asks(scale, "training", TRAINING, 1)["gpu"] == 0
    assert train(scale, **TRAINING).processes == 1


def test_an_experiments_cost_goes_before_the_stages(project: Path) -> None:
    scale = costing(project, {"minutes": 90, "mem_mb": 64000, "gpus": 2})
    found = asks(scale, "training", TRAINING, 1)
    assert (found["mem_mb"], found["gpu"], found["nodes"]) == (64000, 2, 1)
    assert found["runtime"] == scale.stages.training.runtime + 90 * 5
    assert (train(scale, **TRAINING).processes, train(scale, **TRAINING).nodes) == (2, 1)
    other = train(scale, **TRAINING | {"experiment": "S"})
    assert (other.processes, other.nodes) == (1, 1)


@pytest.mark.parametrize("attempt", [1, 3])
def test_long_training_asks_for_a_day_and_goes_on(attempt: int, project: Path) -> None:
    scale = costing(project, {"minutes": 5000})
    assert asks(scale, "training", TRAINING, attempt)["runtime"] == scale.stages.training.longest == 1440


def test_several_nodes_are_one_task_each(project: Path) -> None:
    scale = costing(project, {"gpus": 4, "nodes": 2})
    found = asks(scale, "training", TRAINING, 1)
    assert (found["nodes"], found["tasks"], found["mpi"], found["gpu"]) == (2, 2, "srun", 0)
    assert "--gpus-per-node=4" in str(found["slurm_extra"])
    assert (train(scale, **TRAINING).processes, train(scale, **TRAINING).nodes) == (4, 2)


@pytest.mark.parametrize(("minutes", "size"), [(10, 20), (60, 4), (100, 2), (1000, 1)])
def test_seeds_share_a_job_as_their_cost_allows(minutes: int, size: int, project: Path) -> None:
    scale = costing(project, {"minutes": minutes}, seeds_per_job=None)
    assert [len(group) for group in seed_groups(scale, "boes_avsed", "SAV").values()] == [size] * (20 // size)


@pytest.mark.parametrize("scale", ["full", "mini"])
def test_downloads_are_all_that_needs_a_network(scale: str, tmp_path: Path) -> None:
    fetching = [rule.replace("_", " ") for rule, text in JOBS if "downloads=1" in text]
    counts = []
    for target in ("all", "downloads"):
        call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(tmp_path)]
        done = subprocess.run(
            [*call, "-n", target, "--config", f"scale={scale}"], capture_output=True, text=True, check=True
        )
        jobs = dict(re.findall(r"^ ([a-z ]+?) +(\d+) *$", done.stdout + done.stderr, re.MULTILINE))
        counts.append({rule: jobs.get(rule) for rule in fetching})
        assert ("train" in jobs) == (target == "all")
    assert counts[0] == counts[1]
    assert {rule for rule, count in counts[1].items() if not count} == (set() if scale == "full" else {"fetch model"})
