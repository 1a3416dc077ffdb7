"""Curves in MLflow while trainings run: the histories that these write, and the command that follows them."""

import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import test_classifier as digits
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from tracking_files import client_of, contents, free_port, history, runs_of, serving, sync, write_training
from training_files import command, stopped

from workflow_scripts.tracking.items import LONGEST_CURVE, thin_steadily
from workflow_scripts.training.outputs import write_history

PLACE = Path("work", "mini", "training", "p", "S", "seeds-0-1")


class Follower:
    """The command that follows, in a folder of a run, and what it has said."""

    def __init__(self, folder: Path, *options: str) -> None:
        line = [sys.executable, "-m", "workflow_scripts.tracking.follow", "--every", "0.1", *options]
        streams = {"stderr": subprocess.PIPE, "text": True, "preexec_fn": heed_interrupts}
        self.process = subprocess.Popen(line, cwd=folder, **streams)
        self.said = ""
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            self.said += text

    def wait(self, seen: Callable[[], Any]) -> Any:
        """What `seen` gives as soon as it gives something."""
        for _ in range(1200):
            if found := seen():
                return found
            assert self.process.poll() is None, self.said
            time.sleep(0.1)
        pytest.fail(self.said)

    def stop(self) -> None:
        """Ends it as a person does."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=60) == 0, self.said
        self.reader.join(60)
        assert self.said.splitlines()[-1].startswith("ended; ")


def heed_interrupts() -> None:
    """What is started in the background of a shell would ignore them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def following(folder: Path, *options: str) -> Iterator[Follower]:
    follower = Follower(folder, *options)
    try:
        yield follower
    finally:
        follower.process.kill()
        follower.process.wait()


def grow(files: Path, steps: int, seed: int = 0, run: str = "0a1b2c3d", loss: float = 1) -> None:
    """The history of a seed that learns, at a checkpoint."""
    rows = ({"seed": seed, "step": step, "loss": seed + loss / step} for step in range(1, steps + 1))
    write_history(files / PLACE / f"growing-{seed}-{run}.parquet", rows)


def database(files: Path) -> str:
    return f"sqlite:///{files}/results/mlflow.db"


def points(client: MlflowClient, name: str, key: str = "loss") -> list[tuple[int, float]]:
    """The curve of a run, without an order; empty where there is no such run yet."""
    runs = runs_of(client) if client.get_experiment_by_name("p/mini") else {}
    return sorted((point.step, point.value) for point in history(client, runs[name], key)) if name in runs else []


def test_a_training_shows_its_history_at_checkpoints_and_takes_it_away_at_the_end(tmp_path: Path) -> None:
    """What a stopped training has shown stays true when it goes on."""
    corpus, folder = digits.write_corpus(tmp_path), tmp_path / "run"
    long = {"max_epochs": 30, "patience": 30}
    job = digits.job_of(corpus, folder, [0, 1], optimisation=long, record_every=1, checkpoint_seconds=0)
    step = stopped(command(job, folder), folder, signal.SIGTERM)
    (shown,) = folder.glob("growing-0-*.parquet")
    rows = pq.read_table(shown).to_pylist()
    assert 0 < rows[-1]["step"] <= step
    (folder / "growing-0-ofbefore.parquet").write_bytes(b"of a run that was defined otherwise")
    subprocess.run(command(job, folder), check=True, capture_output=True)
    assert not list(folder.glob("growing*"))
    whole = [row for row in pq.read_table(folder / "history.parquet").to_pylist() if row["seed"] == 0]
    assert [{name: row[name] for name in rows[0]} for row in whole[: len(rows)]] == rows


def test_curves_grow_and_the_sync_completes_their_run(files: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The follower may be ended and begun again, and the training killed: no point stands twice."""
    client, options = client_of(files), ("--tracking-uri", database(files))
    grow(files, 0)
    with following(files, *options) as follower:
        run = follower.wait(lambda: client.get_experiment_by_name("p/mini") and runs_of(client).get("S seed 0"))
        assert (run.info.status, run.data.tags["superseded"]) == ("RUNNING", "false")
        grow(files, 30)
        follower.wait(lambda: len(points(client, "S seed 0")) == 30)
        follower.stop()
    grow(files, 20)  # the newest checkpoint was damaged, and the one before is gone on from
    with following(files, *options) as follower:
        grow(files, 450)
        grow(files, 40, seed=1)
        follower.wait(lambda: len(points(client, "S seed 0")) == 313 and len(points(client, "S seed 1")) == 40)
        shutil.rmtree(files / "S-a")
        write_training(files / "S-a", [0, 1])
        shutil.copy(files / "S-a" / "history.parquet", files / PLACE)
        for path in (files / PLACE).glob("growing-*"):
            path.unlink()
        follower.wait(lambda: len(points(client, "S seed 1")) == 313)  # the rest of a training that has ended
        follower.stop()
    followed = runs_of(client)
    assert followed["S seed 0"].info.run_id == run.info.run_id
    report = sync(files)["experiments"]["p/mini"]
    assert {name: report[name] for name in followed} == {name: own.info.run_id for name, own in followed.items()}
    after = runs_of(client)
    assert all(own.info.status == "FINISHED" for own in after.values())
    curve = points(client, "S seed 0")
    assert len({step for step, _ in curve}) == len(curve) and curve[-1][0] == 450
    other = f"sqlite:///{tmp_path_factory.mktemp('other')}/mlflow.db"
    sync(files, other)
    plain = contents(MlflowClient(other))
    for name, (status, params, logged, artifacts) in contents(client).items():
        assert (status, params, artifacts) == (plain[name][0], plain[name][1], plain[name][3])
        assert set(plain[name][2]) <= set(logged)
    assert after["S seed 0"].data.metrics == runs_of(MlflowClient(other))["S seed 0"].data.metrics
    assert after["S seed 0"].data.tags["mlflow.parentRunId"] == report["S"]
    assert sync(files)["experiments"]["p/mini"] == report


def test_a_training_that_began_anew_gets_a_new_run(files: Path) -> None:
    client = client_of(files)
    grow(files, 30)
    with following(files, "--tracking-uri", database(files)) as follower:
        follower.wait(lambda: len(points(client, "S seed 0")) == 30)
        old = runs_of(client)["S seed 0"].info.run_id
        grow(files, 10, loss=2)  # with other settings
        follower.wait(lambda: points(client, "S seed 0") == [(step, 2 / step) for step in range(1, 11)])
        follower.stop()
    assert client.get_run(old).info.lifecycle_stage == "deleted"


def test_a_followed_run_that_the_files_contradict_is_not_completed(files: Path) -> None:
    grow(files, 30, loss=2)
    client = client_of(files)
    with following(files, "--tracking-uri", database(files)) as follower:
        follower.wait(lambda: len(points(client, "S seed 0")) == 30)
        old = runs_of(client)["S seed 0"].info.run_id
        follower.stop()
    assert sync(files)["experiments"]["p/mini"]["S seed 0"] != old
    assert client.get_run(old).info.lifecycle_stage == "deleted"


def test_a_server_that_is_away_gets_all_when_it_is_back(files: Path) -> None:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    grow(files, 5)
    grow(files, 7, run="ffff0000", loss=3)  # another fold
    with following(files, "--tracking-uri", address) as follower:
        follower.wait(lambda: "is away" in follower.said)
        grow(files, 9)
        with serving(files, port):
            client = MlflowClient(address)
            follower.wait(lambda: "is back" in follower.said)
            assert len(points(client, "S seed 0")) == 16
        follower.stop()
    assert follower.said.count("is away") == 1


def test_what_cannot_be_followed_is_said_in_a_sentence(tmp_path: Path) -> None:
    with following(tmp_path) as follower:
        follower.wait(lambda: "work: nothing is trained at present; waiting" in follower.said)
        follower.stop()
    (tmp_path / "config.yaml").write_text("tracking_uri: null\n")
    line = [sys.executable, "-m", "workflow_scripts.tracking.follow"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: config.yaml: tracking_uri is null")


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_a_point_that_was_chosen_of_a_growing_curve_stays_so(before: int, after: int) -> None:
    few, more = (thin_steadily(list(range(length))) for length in sorted((before, after)))
    assert more[: len(few)] == few
    assert few[:LONGEST_CURVE] == list(range(min(before, after, LONGEST_CURVE)))
    assert len(more) <= 760 and (not more or more[-1] > max(before, after) * 0.98 - 2)
