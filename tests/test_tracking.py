"""Syncing files into MLflow: through the job, and read back with MLflow's own client."""

import json
import os
import pickle
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

from workflow_scripts.errors import UserError
from workflow_scripts.tracking.items import Place, row_item, training_items
from workflow_scripts.tracking.plan import SyncTable, SyncTracking

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


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: making one takes a second, copying none."""
    database = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{database}")
    return database


@pytest.fixture
def files(tmp_path: Path, empty_store: Path) -> Path:
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


def test_a_table_of_several_papers(files: Path) -> None:
    """What a front door syncs is found as it is by the sync of a whole paper later."""
    papers = [job(files, paper=name, coverage=None) for name in ("p", "q")]
    SyncTable(papers=papers, needed=[]).run(files / "table3.json")
    report = json.loads((files / "table3.json").read_text())
    assert report["failures"] == 0 and set(report["papers"]) == {"p", "q"}
    client = client_of(files)
    assert set(runs_of(client, "q/mini/tables")) == {"table3"}
    before = {run.info.run_id for run in runs_of(client).values()}
    sync(files)
    assert {run.info.run_id for run in runs_of(client).values()} == before and before
    assert set(runs_of(client, "p/mini/tables")) == {"table3", "coverage"}
    SyncTable(papers=[job(files, f"sqlite:///{files}/S-a", failures=2, coverage=None)], needed=[]).run(files / "t.json")
    assert json.loads((files / "t.json").read_text())["failures"] == 3


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


def test_a_seed_is_a_run_with_its_params_curves_scores_and_tags(files: Path) -> None:
    report = sync(files)
    client = client_of(files)
    runs = runs_of(client)
    assert set(runs) == {"S seed 0", "S seed 1", "S seed 2", "AV seed 0", "spectral + visual (S)", "AV (AV)"}
    run = runs["S seed 1"]
    assert run.info.status == "FINISHED"
    assert run.data.params["model.gru.hidden"] == "16"
    assert run.data.params["model.channels"] == "8, 16"
    assert run.data.params["parameter_count"] == "1234"
    assert run.data.params["experiment"] == "S"
    assert run.data.params["seed"] == "1"
    assert "seeds" not in run.data.params
    assert len(run.data.params["classes"]) == 500
    assert run.data.metrics["test/event_macro_f1"] == 0.25
    assert "by" not in run.data.metrics
    loss = history(client, run, "loss")
    assert len(loss) == 200
    assert [loss[0].step, loss[-1].step] == [1, STEPS]
    assert all(point.value == 1 + 1 / point.step for point in loss)
    assert [(point.step, point.value) for point in history(client, run, "f1")] == [
        (step, step / STEPS) for step in (100, 200, 300, 400)
    ]
    tags = run.data.tags
    assert (tags["paper"], tags["scale"], tags["seed"], tags["superseded"]) == ("p", "mini", "1", "false")
    assert len(tags["content_key"]) == len(tags["lock_sha256"]) == 64
    assert tags["weights"].endswith("S-a/weights.safetensors")
    assert report["synced"]
    assert report["experiments"]["p/mini"]["S seed 1"] == run.info.run_id


def test_a_row_of_a_table_is_a_run_above_its_seeds(files: Path) -> None:
    report = sync(files)
    client = client_of(files)
    runs = runs_of(client)
    row = runs["spectral + visual (S)"]
    cell = "table3/Clip-based micro-av. F1"
    assert row.data.metrics == {
        cell: 61.123456789012345,
        f"{cell}/published": 80.72,
        f"{cell}/ci_low": 58.5,
        f"{cell}/ci_high": 64.25,
    }
    assert row.data.params == {"experiment": "S", "seeds": "0, 1, 2"}
    above = {name: run.data.tags.get("mlflow.parentRunId") for name, run in runs.items()}
    assert {name for name, run_id in above.items() if run_id == row.info.run_id} == {f"S seed {n}" for n in range(3)}
    assert report["experiments"]["p/mini"]["S"] == row.info.run_id
    experiment = client.get_experiment_by_name("p/mini")
    assert experiment.tags["mlflow.note.content"] == "**A paper**"


def test_a_run_tells_its_time_its_source_and_what_it_learned_from(files: Path) -> None:
    sync(files)
    runs = runs_of(client_of(files))
    took = {name: run.info.end_time - run.info.start_time for name, run in runs.items()}
    assert 90_500 <= took["S seed 0"] < 90_600 and took["S seed 2"] < 100  # position in the list: milliseconds
    written = (files / "S-a" / "history.parquet").stat().st_mtime
    assert abs(runs["S seed 1"].info.end_time / 1000 - written) < 5
    assert runs["S seed 0"].data.tags["mlflow.source.name"] == "papers/p/paper.yaml: experiments.S"
    (given,) = runs["S seed 0"].inputs.dataset_inputs
    assert given.dataset.name == "dcase"
    assert json.loads(given.dataset.profile) == {"clips": {"test": 1, "train": 4}}


def test_what_comes_later_is_added_and_changed(files: Path) -> None:
    """The front door of one table, then that of another: the same runs, with more cells."""
    sync(files)
    before = runs_of(client_of(files))["spectral + visual (S)"]
    (files / "table4.csv").write_text(CELLS.replace("table3", "table4"))
    (files / "table3.csv").write_text(CELLS.replace("80.72", "80.70"))
    both = trained(files, "spectral + visual", "spectral + visual")
    both["places"].append(("table4", "", "spectral + visual"))
    job(files, trained={"S": both}, tables=[files / "table3.csv", files / "table4.csv"]).run(files / "mlflow.json")
    after = runs_of(client_of(files))["spectral + visual (S)"]
    assert after.info.run_id == before.info.run_id
    assert after.data.metrics["table3/Clip-based micro-av. F1/published"] == 80.70
    assert after.data.metrics["table4/Clip-based micro-av. F1"] == 61.123456789012345


def test_files_of_results_are_runs_without_metrics(files: Path) -> None:
    (files / "table3.tex").write_text("LaTeX")
    (files / "figure1.png").write_bytes(b"a picture")
    job(files, figures=[files / "figure1.png"]).run(files / "mlflow.json")
    runs = runs_of(client_of(files), "p/mini/tables")
    assert set(runs) == {"table3", "coverage", "figures"}
    assert all(run.data.metrics == {} for run in runs.values())
    assert runs["table3"].data.tags["mlflow.note.content"] == (files / "table3.md").read_text()
    places = {"table3": ["table3.csv", "table3.md", "table3.tex"], "figures": ["figure1.png"]}
    for run, names in {**places, "coverage": ["coverage.csv"]}.items():
        folder = Path(runs[run].info.artifact_uri.removeprefix("file://"))
        assert folder.is_relative_to(files / "results" / "mlartifacts")
        assert sorted(path.name for path in folder.iterdir()) == names
        assert all((folder / name).read_bytes() == (files / name).read_bytes() for name in names)


def test_the_rows_of_a_table_can_be_compared_at_an_address(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        run_id = sync(files)["experiments"]["p/mini"]["S"]
    (address,) = [record.args[0] for record in caplog.records if "side by side" in record.msg]
    assert address.startswith("http://127.0.0.1:5000/#/compare-runs?runs=%5B%22") and run_id in address


def test_syncing_twice_changes_nothing(files: Path) -> None:
    first = sync(files)
    before = snapshot(client_of(files))
    time.sleep(0.01)
    for path in files.glob("*/*.parquet"):
        os.utime(path)  # as if written anew with the same content
    assert sync(files) == first
    assert snapshot(client_of(files)) == before


def test_changed_content_supersedes_and_going_back_restores(files: Path) -> None:
    old = sync(files)["experiments"]["p/mini"]
    kept = (files / "S-scores" / "scores.parquet").read_bytes()
    write_scores(files / "S-scores", {0: 0.5, 1: 0.75, 2: 0.125})
    new = sync(files)["experiments"]["p/mini"]
    assert {name for name in old if old[name] != new[name]} == {"S", "S seed 1"}
    runs = runs_of(client_of(files))
    assert runs["S seed 1"].data.metrics["test/event_macro_f1"] == 0.75
    assert runs["S seed 1 (superseded)"].info.run_id == old["S seed 1"]
    assert runs["S seed 1 (superseded)"].data.tags["superseded"] == "true"
    found = client_of(files).search_runs([runs["S seed 1"].info.experiment_id], "tags.superseded = 'false'")
    assert {run.info.run_id for run in found} == set(new.values())

    (files / "S-scores" / "scores.parquet").write_bytes(kept)
    assert sync(files)["experiments"]["p/mini"] == old
    runs = runs_of(client_of(files))
    assert runs["S seed 1"].info.run_id == old["S seed 1"]
    assert runs["S seed 1 (superseded)"].info.run_id == new["S seed 1"]


def test_another_seed_leaves_the_others_runs_alone(files: Path) -> None:
    old = sync(files)["experiments"]["p/mini"]
    shutil.rmtree(files / "S-b")
    write_training(files / "S-b", [2, 3])
    new = sync(files)["experiments"]["p/mini"]
    assert new == {**old, "S": new["S"], "S seed 3": new["S seed 3"]}


@pytest.mark.parametrize("step", ["log_batch", "set_terminated"])
def test_a_sync_that_was_killed_half_way_is_completed(
    files: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real = getattr(MlflowClient, step)

    def dying(self: MlflowClient, *arguments: Any, **options: Any) -> None:
        if step == "log_batch":
            real(self, *arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, step, dying)
        with pytest.raises(KeyboardInterrupt):
            sync(files)
    assert not (files / "mlflow.json").exists()
    sync(files)
    whole = tmp_path_factory.mktemp("whole")
    uri = f"sqlite:///{whole}/mlflow.db"
    sync(files, uri)
    assert contents(client_of(files)) == contents(MlflowClient(uri))


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


def test_an_unfinished_run_of_other_content_is_deleted(files: Path) -> None:
    run_id = sync(files)["experiments"]["p/mini"]["S seed 0"]
    client_of(files).update_run(run_id, status="RUNNING")
    write_scores(files / "S-scores", {0: 0.75, 1: 0.25, 2: 0.125})
    sync(files)
    assert client_of(files).get_run(run_id).info.lifecycle_stage == "deleted"
    assert runs_of(client_of(files))["S seed 0"].data.metrics["test/event_macro_f1"] == 0.75


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
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
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
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    words += ["--artifacts-destination", str(tmp_path / "kept")]
    with (tmp_path / "server.log").open("w") as log:
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = subprocess.Popen(words, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            wait_for(port, process, tmp_path / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 15)
            process.wait(timeout=20)


def wait_for(port: int, process: subprocess.Popen, log: Path) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(log.read_text())


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


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"uri": "./mlruns"}, "tracking_uri: give a database or a server"),
        ({"jobs": {"S": [Path("nowhere")]}}, "nowhere/params.json: cannot be read as JSON"),
    ],
)
def test_mistakes_are_told_in_a_sentence(files: Path, change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        job(files, **change).run(files / "mlflow.json")


def test_files_that_do_not_fit_are_told_in_a_sentence(files: Path) -> None:
    write_scores(files / "S-scores", {7: 0.5})
    with pytest.raises(UserError, match="seed 7"):
        training_items("S", [files / "S-a"], files / "S-scores" / "scores.parquet")
    with pytest.raises(UserError, match="another folder"):
        training_items("S", [files / "S-a", files / "S-a"], None)
    (files / "bad.csv").write_text("row,column\na,b\n")
    with pytest.raises(UserError, match=r"bad\.csv: the column 'measured' is missing"):
        row_item("S", "S", [], [files / "bad.csv"], [Place("bad", "", "a")])
