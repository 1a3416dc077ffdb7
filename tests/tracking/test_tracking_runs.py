"""Syncing files into MLflow: what its runs hold, and that doing it again changes nothing."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tracking_files import (
    CELLS,
    STEPS,
    client_of,
    contents,
    history,
    job,
    runs_of,
    snapshot,
    sync,
    trained,
    write_scores,
    write_training,
)

from workflow_scripts.errors import UserError
from workflow_scripts.tracking.items import Place, row_item, training_items
from workflow_scripts.tracking.plan import SyncTable


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
    for run in (runs["S seed 0"], runs["spectral + visual (S)"]):
        assert run.data.tags["mlflow.source.name"] == "papers/p/paper.yaml: experiments.S"
        (given,) = run.inputs.dataset_inputs
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


def test_an_unfinished_run_of_other_content_is_deleted(files: Path) -> None:
    run_id = sync(files)["experiments"]["p/mini"]["S seed 0"]
    client_of(files).update_run(run_id, status="RUNNING")
    write_scores(files / "S-scores", {0: 0.75, 1: 0.25, 2: 0.125})
    sync(files)
    assert client_of(files).get_run(run_id).info.lifecycle_stage == "deleted"
    assert runs_of(client_of(files))["S seed 0"].data.metrics["test/event_macro_f1"] == 0.75


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
