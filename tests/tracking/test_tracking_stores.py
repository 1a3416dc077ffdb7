"""Stores of MLflow: two syncs at once, servers that are dead or hold the same, databases that were moved."""

import json
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from tracking_files import (
    CELLS,
    client_of,
    contents,
    free_port,
    job,
    runs_of,
    serving,
    snapshot,
    sync,
)


def test_two_syncs_at_once_make_each_run_once(files: Path) -> None:
    (files / "results" / "mlflow.db").unlink()
    (files / "job.pickle").write_bytes(pickle.dumps(job(files)))
    code = "import pathlib, pickle; from workflow_scripts.errors import run;"
    code += "run(lambda: pickle.loads(pathlib.Path('job.pickle').read_bytes()).run(pathlib.Path('mlflow.json')))"
    call = [sys.executable, "-c", code]
    both = [subprocess.Popen(call, cwd=files, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sorted("6 new" in text for text in said) == [False, True], said
    client = client_of(files)
    assert len(runs_of(client, view=ViewType.ALL)) == 6
    assert len(runs_of(client, "p/mini/tables", ViewType.ALL)) == 2


def test_a_dead_server_costs_a_sentence(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    began = time.monotonic()
    report = sync(files, f"http://joe:s%3Dcret@127.0.0.1:{port}")
    assert time.monotonic() - began < 15
    assert report["synced"] is False
    assert "not synced" in caplog.text
    for text in (caplog.text, json.dumps(report)):
        assert f"http://***@127.0.0.1:{port}" in text
        assert not any(secret in text for secret in ("joe", "s%3Dcret", "s=cret"))


def test_a_file_that_is_no_database_costs_a_sentence(files: Path) -> None:
    (files / "broken.db").write_text("nonsense " * 100)
    report = sync(files, f"sqlite:///{files}/broken.db")
    assert report["synced"] is False
    assert "not a database" in report["reason"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real MLflow server on loopback."""
    with serving(tmp_path, free_port()) as address:
        yield address


def test_a_server_holds_the_same_runs(files: Path, server: str) -> None:
    first = sync(files, server)
    assert first["synced"], first
    client = MlflowClient(server)
    before = snapshot(client)
    assert sync(files, server) == first
    assert snapshot(client) == before
    sync(files)
    assert contents(client) == contents(client_of(files))
    table = runs_of(client, "p/mini/tables")["table3"]
    copy = client.download_artifacts(table.info.run_id, "table3.csv", str(files))
    assert Path(copy).read_text() == CELLS


def test_a_store_that_was_moved_follows(files: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Its folder may have any name; its runs stay as they are, and their artifacts can be had."""
    first = sync(files)
    before = contents(client_of(files))
    place = tmp_path_factory.mktemp("moved to") / "100 % & more"
    shutil.move(files / "results", place)
    uri = f"sqlite:///{place}/mlflow.db"
    moved = sync(files, uri)
    assert moved == {**first, "tracking_uri": uri}
    client = MlflowClient(uri)
    assert contents(client) == before
    for run in (*runs_of(client).values(), *runs_of(client, "p/mini/tables").values()):
        assert run.info.artifact_uri.startswith((place / "mlartifacts").as_uri())
    table = runs_of(client, "p/mini/tables")["table3"]
    assert Path(client.download_artifacts(table.info.run_id, "table3.csv", str(files))).read_text() == CELLS
    assert not (files / "results").exists()
    again = snapshot(client)
    sync(files, uri)
    assert snapshot(client) == again


def test_a_database_that_was_moved_without_its_artifacts_is_left_alone(files: Path) -> None:
    sync(files)
    (files / "moved").mkdir()
    shutil.move(files / "results" / "mlflow.db", files / "moved" / "mlflow.db")
    kept = (files / "moved" / "mlflow.db").read_bytes()
    report = sync(files, f"sqlite:///{files}/moved/mlflow.db")
    assert report["synced"] is False
    assert f"its artifacts were left in {files}/results/mlartifacts; move that folder" in report["reason"]
    assert (files / "moved" / "mlflow.db").read_bytes() == kept


def test_a_deleted_mlflow_experiment_is_restored(files: Path) -> None:
    sync(files)
    client = client_of(files)
    client.delete_experiment(client.get_experiment_by_name("p/mini").experiment_id)
    assert sync(files)["synced"]
    assert client.get_experiment_by_name("p/mini").lifecycle_stage == "active"
