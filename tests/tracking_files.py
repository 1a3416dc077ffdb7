"""Outputs of two experiments, a table and a ledger for MLflow, and what its client then tells of them."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from workflow_scripts.tracking.plan import SyncTracking

HEADER = (
    "paper,table,group,row,column,unit,published,published_ci,measured,ci_low,ci_high,seeds,items,scale,status,note"
)
CELLS = f"""{HEADER}
p,table3,,spectral + visual,Clip-based micro-av. F1,%,80.72,,61.123456789012345,58.5,64.25,4,60,mini,measured,
p,table3,single ranking,spectral + visual,Clip-based micro-av. F1,%,,,60.5,,,4,60,mini,measured,
p,table3,,spectral,Kernel size,,"(3, 3)",,"(3, 3)",,,,,mini,analytic,
p,table3,,visual,Clip-based micro-av. F1,%,70.1,,,,,,,mini,not_collected,
"""
STEPS = 450


def write_files(tmp_path: Path, empty_store: Path) -> Path:
    """Outputs of two experiments (S in two folders), a table and a ledger, and an empty store."""
    (tmp_path / "results").mkdir()
    shutil.copy(empty_store, tmp_path / "results")
    write_training(tmp_path / "S-a", [0, 1])
    write_training(tmp_path / "S-b", [2])
    write_training(tmp_path / "AV", [0])
    write_scores(tmp_path / "S-scores", {0: 0.5, 1: 0.25, 2: 0.125})
    (tmp_path / "table3.csv").write_text(CELLS)
    (tmp_path / "table3.md").write_text("| features | F1 |\n|---|---|\n| spectral + visual | 61.12 |\n")
    (tmp_path / "coverage.csv").write_text(
        "paper,corpus,split,asked,ok,removed,note\np,dcase,test,64,60,4,3 lost\nq,other,test,9,9,,\n"
    )
    (tmp_path / "requirements.txt").write_text("torch==1\n")
    splits = [{"clip_id": str(number), "split": "train" if number else "test"} for number in range(5)]
    pq.write_table(pa.Table.from_pylist(splits), tmp_path / "manifest.parquet")
    (tmp_path / "S-a.tsv").write_text("s\th:m:s\n90.5\t0:01:30\n")
    return tmp_path


def trained(files: Path, label: str, row: str) -> dict[str, Any]:
    """What a plan tells of an experiment in one row of the table."""
    benchmarks = {files / "S-a": files / "S-a.tsv", files / "S-b": files / "S-b.tsv"}  # the second ran elsewhere
    about = {"label": label, "places": [("table3", "", row)], "corpus": "dcase"}
    return {**about, "manifest": files / "manifest.parquet", "benchmarks": benchmarks}


def write_training(folder: Path, seeds: list[int]) -> None:
    folder.mkdir()
    definition = {"model": {"channels": [8, 16], "gru": {"hidden": 16}}, "classes": ["x" * 400, "y" * 400]}
    params = {"definition": definition, "seeds": seeds, "parameter_count": 1234, "versions": {"torch": "1"}}
    (folder / "params.json").write_text(json.dumps(params))
    rows = [
        {
            "seed": seed,
            "step": step,
            "loss": seed + 1 / step,
            "f1": step / STEPS if step % 100 == 0 else None,
            "by": "x",
        }
        for seed in seeds
        for step in range(1, STEPS + 1)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "history.parquet")


def write_scores(folder: Path, values: dict[int, float]) -> None:
    folder.mkdir(exist_ok=True)
    rows = [{"seed": s, "split": "test", "metric": "event_macro_f1", "value": v} for s, v in values.items()]
    pq.write_table(pa.Table.from_pylist(rows), folder / "scores.parquet")


def sync(files: Path, uri: str | None = None) -> dict[str, Any]:
    job(files, uri).run(files / "mlflow.json")
    return json.loads((files / "mlflow.json").read_text())


def job(files: Path, uri: str | None = None, **changes: Any) -> SyncTracking:
    fields: dict[str, Any] = {
        "paper": "p",
        "scale": "mini",
        "uri": uri or f"sqlite:///{files}/results/mlflow.db",
        "jobs": {"S": [files / "S-a", files / "S-b"], "AV": [files / "AV"]},
        "scores": {"S": files / "S-scores" / "scores.parquet"},
        "tables": [files / "table3.csv"],
        "about": "**A paper**",
        "trained": {"S": trained(files, "spectral + visual", "spectral + visual"), "AV": trained(files, "AV", "none")},
        "coverage": files / "coverage.csv",
        "lock": files / "requirements.txt",
    }
    return SyncTracking(**fields | changes)


def client_of(files: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{files}/results/mlflow.db")


def runs_of(client: MlflowClient, name: str = "p/mini", view: int = ViewType.ACTIVE_ONLY) -> dict[str, Run]:
    """The runs by name; fails where a name stands twice."""
    experiment = client.get_experiment_by_name(name)
    runs = client.search_runs([experiment.experiment_id], run_view_type=view) if experiment else []
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {run.info.run_name: run for run in runs}


def snapshot(client: MlflowClient) -> dict[str, Any]:
    """All that MLflow knows of all runs, deleted ones too, with every timestamp and curve."""
    return {
        experiment.name: {
            "experiment": dict(experiment),
            "runs": {
                run.info.run_id: (
                    run.to_dictionary(),
                    [m.to_dictionary() for key in sorted(run.data.metrics) for m in history(client, run, key)],
                )
                for run in client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)
            },
        }
        for experiment in client.search_experiments(view_type=ViewType.ALL)
    }


def history(client: MlflowClient, run: Run, key: str) -> list[Any]:
    return client.get_metric_history(run.info.run_id, key)


def contents(client: MlflowClient) -> dict[str, Any]:
    """What the runs hold, without their ids and places."""
    return {
        name: (
            run.info.status,
            run.data.params,
            [(m.key, m.value, m.step) for key in sorted(run.data.metrics) for m in history(client, run, key)],
            [(file.path, file.file_size) for file in client.list_artifacts(run.info.run_id)],
        )
        for experiment in ("p/mini", "p/mini/tables")
        for name, run in runs_of(client, experiment, ViewType.ALL).items()
    }


def free_port() -> int:
    """A port of this machine at which nothing answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def serving(folder: Path, port: int) -> Iterator[str]:
    """Inside, a real MLflow server answers on loopback, at the address that is yielded; it keeps all in a folder."""
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    words += ["--artifacts-destination", str(folder / "kept")]
    with (folder / "server.log").open("w") as log:
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            wait_for(port, process, folder / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 15)
            process.wait(timeout=20)


def wait_for(port: int, process: subprocess.Popen, log: Path) -> None:
    for _ in range(1200):
        assert process.poll() is None, log.read_text()
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(log.read_text())
