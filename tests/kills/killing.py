"""The same tables after any kill: runs the smoke scale, kills it at seeded points, runs it again, compares.

    python tests/kills/killing.py --points 20 --seed 0

One run is left in peace. A point is a stage, one of its jobs, a moment in it, and a way to be killed. It starts from a
copy of what that run had made before the stage, is killed, and then run again by the very same command. After that
every CSV file of the results must be the same to the byte, MLflow must hold the same runs, and no part of a file and
no process may be left. The project is a copy of this one, with the notes of `power_cut` in it.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import power_cut
import psutil

ROOT = Path(__file__).parent.parent.parent
PROJECT = ("Snakefile", "rules", "workflow_scripts", "composed", "profiles", "envs", "papers")
TARGETS = ["results/smoke/claims.csv", "results/smoke/killed/figure1.png", "work/smoke/tracking/killed.json"]
SECONDS = 1800  # for a run

# Stages in their order: where their jobs' benchmarks lie below work/smoke/benchmarks, and what they make.
STAGES = {
    "composing": (["corpora/*/compose"], ["work/smoke/corpora"]),
    "fetching": (["media/*/fetch-*", "media/*/records-*", "media/*/text-*"], ["work/smoke/media", "work/pace"]),
    "decoding": (["media/*/audio-*"], ["work/smoke/media/*/audio-*"]),
    "extracting": (["features/*/*"], ["work/smoke/features"]),
    "captions": (["features/*/temporal-[0-9]*"], ["work/smoke/features/*/temporal*", "work/answers"]),
    "training": (["training/*/*"], ["work/smoke/training", "work/checkpoints"]),
    "scoring": (["scores/*/*"], ["work/smoke/scores"]),
    "tables": (["tables/*", "figures/*"], ["work/smoke/tables", "results/smoke", "results/*.csv"]),
    "tracking": (["tracking/*"], ["work/smoke/tracking", "results/mlflow.db*", "results/mlartifacts"]),
}
WAYS = ("job", "group", "snakemake", "interrupt", "terminate", "power cut")


class Point(NamedTuple):
    """Where a run is killed: in the job of a benchmark, after a share of its time, in a way of `WAYS`."""

    stage: str
    job: str
    share: float
    way: str
    seed: int


class Model(BaseHTTPRequestHandler):
    """A slow language model: a caption's first words are its only event."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        words = re.findall("[a-z]+", body["messages"][-1]["content"].lower())
        content = json.dumps({"events": [{"event": " ".join(words[:6]), "order": 1}]})
        time.sleep(0.3)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"choices": [{"message": {"content": content}}]}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    """Serves the model."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing of clients that were killed."""


class Project:
    """A copy of this project, in which the same command is run again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, 0
        chosen = ["--config", "scale=smoke", "papers=[killed]"]
        self.command = [sys.executable, "-m", "snakemake", "--cores", "2", *TARGETS, *chosen]

    def start(self) -> subprocess.Popen:
        """Starts the command in a process group of its own."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        (self.folder / power_cut.FOLDER).mkdir(exist_ok=True)
        with (self.folder / power_cut.FOLDER / "output.log").open("a") as log:
            streams = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL}
            streams["preexec_fn"] = heed_interrupts
            return subprocess.Popen(self.command, cwd=self.folder, env=environment, start_new_session=True, **streams)

    def run(self) -> bool:
        """Whether the command ends well."""
        with self.start() as process:
            return wait(process) == 0

    def log(self) -> str:
        """What all runs have said."""
        return (self.folder / power_cut.FOLDER / "output.log").read_text(errors="replace")

    def tables(self) -> dict[str, bytes]:
        """All CSV files of the results but MLflow's copies."""
        paths = [path for path in (self.folder / "results").rglob("*.csv") if "mlartifacts" not in path.parts]
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}

    def tracked(self) -> list[tuple[str, ...]]:
        """The runs in MLflow: experiment, name, status, and how many metrics, parameters and artifacts each has."""
        database = self.folder / "results" / "mlflow.db"
        if not database.exists():
            return []
        query = """SELECT e.name, r.name, r.status,
                (SELECT count(*) FROM metrics m WHERE m.run_uuid = r.run_uuid),
                (SELECT count(*) FROM params p WHERE p.run_uuid = r.run_uuid), r.artifact_uri
            FROM runs r JOIN experiments e USING (experiment_id) WHERE r.lifecycle_stage = 'active'"""
        with contextlib.closing(sqlite3.connect(database)) as connection:
            runs = connection.execute(query).fetchall()

        def artifacts(uri: str) -> str:
            files = [path for path in Path(uri.removeprefix("file://")).rglob("*") if path.is_file()]
            return " ".join(sorted(f"{path.name}:{path.stat().st_size}" for path in files))

        return sorted((*map(str, run[:-1]), artifacts(run[-1])) for run in runs)

    def parts(self) -> list[str]:
        """Files that only a job in progress has."""
        found = [path for name in (".*.part", ".*.part?", "partial-*") for path in self.folder.rglob(name)]
        return sorted(str(path.relative_to(self.folder)) for path in found)

    def processes(self) -> list[psutil.Process]:
        """All processes that work in the folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if self.folder in [place := Path(process.cwd()), *place.parents]:
                    found.append(process)
        return found

    def before(self, stage: str, folder: Path) -> "Project":
        """A copy, without what this stage and the later ones make."""
        shutil.copytree(self.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(power_cut.FOLDER, "logs"))
        names = list(STAGES)
        for later in names[names.index(stage) :]:
            for path in (path for pattern in STAGES[later][1] for path in folder.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return Project(folder)


def new(folder: Path, model: str) -> Project:
    """A copy of this project with a small paper, whose captions a server writes, and with `power_cut`."""
    folder.mkdir(parents=True)
    for name in PROJECT:
        ignored = shutil.ignore_patterns("__pycache__")
        source = ROOT / name
        shutil.copytree(source, folder / name, ignore=ignored) if source.is_dir() else shutil.copy(source, folder)
    for path in ROOT.glob("*.yaml"):
        shutil.copy(path, folder)
    shutil.copy(power_cut.__file__, folder / "sitecustomize.py")
    shutil.copytree(Path(__file__).parent / "paper", folder / "papers" / "killed")
    paper = folder / "papers" / "killed" / "paper.yaml"
    paper.write_text(paper.read_text().replace("@model@", model))
    (folder / "work").mkdir()
    (ROOT / "work" / "assets").mkdir(parents=True, exist_ok=True)
    (folder / "work" / "assets").symlink_to(ROOT / "work" / "assets")
    return Project(folder)


def points(reference: Project, count: int, seed: int, ways: Sequence[str], stages: Sequence[str]) -> Iterator[Point]:
    """So many points: the stages in turn, each time killed in another way, the rest drawn by a seed."""
    benchmarks = reference.folder / "work" / "smoke" / "benchmarks"
    of = {  # the last stage that names a job has it
        str(path.relative_to(benchmarks).with_suffix("")): stage
        for stage, (patterns, _) in STAGES.items()
        for pattern in patterns
        for path in benchmarks.glob(f"{pattern}.tsv")
    }
    jobs = {stage: sorted(job for job, its in of.items() if its == stage) for stage in stages}
    for number in range(count):
        drawn = random.Random(f"{seed} {number}")
        stage = stages[number % len(stages)]
        way = ways[(number + number // len(stages)) % len(ways)]
        yield Point(stage, drawn.choice(jobs[stage]), drawn.uniform(0, 0.9), way, drawn.randrange(1 << 30))


def seconds(reference: Project, job: str) -> float:
    """How long a job took in the reference."""
    lines = (reference.folder / "work" / "smoke" / "benchmarks" / f"{job}.tsv").read_text().splitlines()
    return float(lines[1].split("\t")[0])


def kill(project: Project, run: subprocess.Popen, point: Point) -> str:
    """Kills a run in a way; tells what was lost, if anything is told. The processes that may stay live on."""
    coin = random.Random(point.seed)
    if point.way == "job":
        while not (jobs := working(run)) and run.poll() is None:
            time.sleep(0.02)
        if jobs:
            coin.choice(jobs).kill()
    elif point.way == "snakemake":
        run.kill()
    elif point.way in {"group", "power cut"}:
        os.killpg(run.pid, signal.SIGKILL)
    else:
        os.killpg(run.pid, signal.SIGINT if point.way == "interrupt" else signal.SIGTERM)
    wait(run)
    if point.way != "power cut":
        return ""
    for process in project.processes():  # those that have left the group
        with contextlib.suppress(psutil.Error):
            process.kill()
    lost = power_cut.cut(project.folder, project.started, coin)
    return "\n".join(lost)


def working(run: subprocess.Popen) -> list[psutil.Process]:
    """The processes of the jobs of a run, without their children."""
    found = []
    for process in psutil.Process(run.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(part.endswith(".execute.py") for part in process.cmdline()) and process.name().startswith("python"):
                found.append(process)
    return sorted((one for one in found if one.ppid() not in {other.pid for other in found}), key=lambda one: one.pid)


def heed_interrupts() -> None:
    """What is started in the background of a shell would ignore them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait(run: subprocess.Popen) -> int:
    """The exit code of a run, which must come in time."""
    try:
        return run.wait(SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        raise


def outcome(reference: Project, point: Point, folder: Path) -> str:
    """What became of a point: `same`, or what is not."""
    project = reference.before(point.stage, folder)
    project.started = time.time_ns()
    log, run = project.folder / "logs" / "smoke" / f"{point.job}.log", project.start()
    limit = time.monotonic() + SECONDS
    while not log.exists():
        if run.poll() is not None or time.monotonic() > limit:
            return f"the job did not start: {project.log()[-2000:]}"
        time.sleep(0.02)
    time.sleep(point.share * seconds(reference, point.job))
    if run.poll() is not None:  # this time it was quicker
        shutil.rmtree(folder)
        return outcome(reference, point._replace(share=point.share / 2), folder)
    lost = kill(project, run, point)
    (project.folder / power_cut.FOLDER / "lost.txt").write_text(lost)
    if not project.run():
        return f"the second run failed: {project.folder / power_cut.FOLDER / 'output.log'}"
    return "; ".join(differences(project, reference)) or "same"


def differences(project: Project, reference: Project) -> Iterator[str]:
    """What a finished project has otherwise than the reference, and what was left of the kill."""
    _, alive = psutil.wait_procs(project.processes(), timeout=60)
    if alive:
        yield f"still at work: {alive}"
    made, expected = project.tables(), reference.tables()
    if wrong := sorted(name for name in made.keys() | expected.keys() if made.get(name) != expected.get(name)):
        yield f"differs: {', '.join(wrong)}"
    if project.tracked() != reference.tracked():
        yield f"MLflow holds {set(project.tracked()) ^ set(reference.tracked())}"
    if parts := project.parts():
        yield f"left: {', '.join(parts)}"


def killed(
    folder: Path,
    count: int,
    seed: int,
    only: int | None = None,
    ways: Sequence[str] = WAYS,
    stages: Sequence[str] = tuple(STAGES),
) -> list[tuple[Point, str]]:
    """Kills so many runs; prints a table of what became of each."""
    with Server(("127.0.0.1", 0), Model) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        model = f"http://127.0.0.1:{server.server_port}/v1"
        reference = new(folder / "reference", model)
        assert reference.run(), reference.log()[-5000:]
        found = []
        for number, point in enumerate(points(reference, count, seed, ways, stages)):
            if only not in {None, number}:
                continue
            place = folder / f"point-{number}"
            became = outcome(reference, point, place)
            found.append((point, became))
            print(
                f"{number:3} {point.stage:10} {point.way:10} {point.share:4.0%} of {point.job:45} {became}", flush=True
            )
            if became == "same":
                shutil.rmtree(place)
        server.shutdown()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20, help="how many runs are killed (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="another one draws other points (default 0)")
    parser.add_argument("--only", type=int, help="the number of the only one of the points to be tried")
    parser.add_argument("--folder", type=Path, help="where to work; what was not the same stays there")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    found = killed(folder.resolve(), options.points, options.seed, options.only)
    bad = [point for point, became in found if became != "same"]
    print(f"{len(found) - len(bad)} of {len(found)} points ended with the same tables; {folder}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
