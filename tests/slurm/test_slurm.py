"""The workflow on a real SLURM of one machine with two stand-in GPUs, through profiles/slurm."""

import csv
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cluster import Cluster, NoSlurmError, running

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slurm
SITE = """
slurm-status-command: squeue
slurm-init-seconds-before-status-checks: 3
latency-wait: 10
cores: 2
set-resources: {train: {gpu: 1}}
groups: [score=scores, extract_features=features, decode_audio=sound]
group-components: [scores=8, features=8, sound=4]
"""
TABLES = [
    f"results/smoke/{name}.csv" for name in ("boes_avsed/table3_sound", "nora_fusion/table2", "nora_fusion/intext")
]
OTHER = "work/smoke/training/nora_fusion/maximum/seeds-0-{last}/params.json"
NAME = "smoke_nora_fusion_maximum_seeds-0-{last}"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        with running(tmp_path_factory.mktemp("slurm")) as started:
            yield started
    except NoSlurmError as error:
        pytest.skip(f"no SLURM here: {error}")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the profile of a site: profiles/slurm and this machine's wishes; it is worked in."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("Snakefile", "config.yaml", "corpora.yaml", "assets.yaml", "resources.yaml"):
        shutil.copy(ROOT / name, folder)
    for name in ("rules", "papers", "profiles", "workflow_scripts", "composed", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    profile = yaml_without(("latency-wait", "slurm-init"), (ROOT / "profiles" / "slurm" / "config.yaml").read_text())
    (folder / "profiles" / "site").mkdir()
    (folder / "profiles" / "site" / "config.yaml").write_text(profile + SITE)
    (folder / "work").mkdir()
    (ROOT / "work" / "assets").mkdir(parents=True, exist_ok=True)
    (folder / "work" / "assets").symlink_to(ROOT / "work" / "assets")
    return folder


def yaml_without(keys: tuple[str, ...], text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith(keys))


def start(cluster: Cluster, project: Path, *arguments: str) -> subprocess.Popen:
    call = [sys.executable, "-m", "snakemake", "--profile", "profiles/site", *arguments]
    log = (project / "run.log").open("w")
    environment = cluster.environment | {"PYTHONPATH": str(project)}
    return subprocess.Popen(call, cwd=project, env=environment, stdout=log, stderr=log)


def finish(process: subprocess.Popen, project: Path, seconds: float) -> str:
    """The output of a run once it has ended; a run that takes longer is stopped."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    return (project / "run.log").read_text()


def wait(condition: Callable[[], bool], project: Path, seconds: float = 120) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, (project / "run.log").read_text()
        time.sleep(0.5)


def read(log: Path) -> str:
    """What a log says, which is nothing while it is not there."""
    try:
        return log.read_text()
    except FileNotFoundError:
        return ""


def of_rule(cluster: Cluster, name: str) -> list[dict[str, str]]:
    return [job for job in cluster.jobs() if name in job.get("Comment", "")]


def test_tables_through_the_profile_while_the_partition_is_full(cluster: Cluster, project: Path) -> None:
    cluster.run("sbatch", "--exclusive", "--comment=blocker", "--output=/dev/null", "--wrap=sleep 8")
    run = start(cluster, project, *TABLES)
    wait(lambda: any(job["JobState"] == "PENDING" for job in cluster.jobs()), project)
    output = finish(run, project, 900)
    assert run.returncode == 0, output
    for path in TABLES:
        with (project / path).open(newline="") as file:
            assert {cell["status"] for cell in csv.DictReader(file)} & {"measured", "analytic"}
    trained = of_rule(cluster, "rule_train_")
    assert len(trained) == 3 + 4
    for job in trained:
        asked = (job["TresPerJob"], job["MinMemoryNode"], job["TimeLimit"], job["NumNodes"])
        # nora_fusion's experiments declare their own cost
        ask = ("2000M", "00:09:00") if "boes_avsed" in job["Comment"] else ("3000M", "00:25:00")
        assert asked == ("gres:gpu:1", *ask, "1")
    assert of_rule(cluster, "rule_make_table_")[0]["MinMemoryNode"] == "2000M"
    assert {job["JobState"] for job in cluster.jobs()} <= {"COMPLETED", "COMPLETING"}
    assert not list((project / "logs" / "slurm").rglob("*.log")), "SLURM's logs of jobs that went well are deleted"


def test_failed_jobs_are_summed_up(cluster: Cluster, project: Path) -> None:
    options = ("--retries", "0", "--rerun-triggers", "mtime", "--config", "device=cuda")
    run = start(cluster, project, *options, "--", OTHER.format(last=1))
    output = finish(run, project, 120)
    assert run.returncode != 0
    job = of_rule(cluster, NAME.format(last=1))[-1]["JobId"]
    assert f"Training maximum of nora_fusion, seeds-0-1 (rule train, SLURM job {job})" in output
    assert re.search(r"cause: error: device cuda: .+ cpu or auto", output)
    assert "log: logs/smoke/training/nora_fusion/maximum-seeds-0-1.log" in output


def test_a_training_job_that_is_stopped_is_queued_again_and_goes_on(cluster: Cluster, project: Path) -> None:
    """Stopped by a signal, and then by SLURM itself, because the time limit is near."""
    paper = project / "papers" / "nora_fusion" / "smoke.yaml"
    paper.write_text(paper.read_text().replace("{max_epochs: 2, patience: 1}", "{max_epochs: 1000, patience: 1000}"))
    run = start(cluster, project, "--rerun-triggers", "mtime", "--config", "seeds=1", "--", OTHER.format(last=0))
    checkpoints = project / "work" / "checkpoints"
    before = set(checkpoints.glob("*"))
    wait(lambda: bool(set(checkpoints.glob("*")) - before), project, 300)
    job = of_rule(cluster, NAME.format(last=0))[-1]["JobId"]
    log = project / "logs" / "smoke" / "training" / "nora_fusion" / "maximum-seeds-0-0.log"

    def is_now(**values: str) -> bool:
        return values.items() <= of_rule(cluster, NAME.format(last=0))[-1].items()

    def stopped_at(restarts: str) -> int:
        """The step at which the job was stopped, once it waits for its next turn, which then comes at once."""
        wait(lambda: is_now(Restarts=restarts, JobState="PENDING"), project)
        step = re.search(r"stopped by SIGTERM after step (\d+) of seed 0; run again to go on", log.read_text())
        cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now", "TimeLimit=20")  # SLURM waits two minutes
        return int(step[1])

    cluster.run("scancel", "--signal=TERM", job)
    first = stopped_at("1")
    wait(lambda: is_now(JobState="RUNNING"), project)
    # it trains again: this is not the log of its first turn any more, which Snakemake removes
    wait(lambda: "epoch" in (text := read(log)) and "stopped by" not in text, project)
    minutes = int(of_rule(cluster, NAME.format(last=0))[-1]["RunTime"].split(":")[1])
    cluster.run("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes + 2}")  # it is told two minutes before
    second = stopped_at("2")
    output = finish(run, project, 180)
    assert run.returncode == 0, output
    assert 0 < first < second
    assert len(of_rule(cluster, NAME.format(last=0))) == 1
