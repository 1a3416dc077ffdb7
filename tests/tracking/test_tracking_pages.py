"""What people see in MLflow's pages: sampled answers, rows and comparisons at the addresses that a sync tells."""

import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser import Browser, chromium
from mlflow import MlflowClient
from tracking_files import client_of, contents, free_port, runs_of, serving, sync

from workflow_scripts.report.examples import CLIPS, examples
from workflow_scripts.report.plan import Examples
from workflow_scripts.tracking.sync import SAMPLES
from workflow_scripts.training.outputs import caption_schema


def write_captions(files: Path, clips: int = 30) -> None:
    """Captions by two seeds, and a manifest with references."""
    names = [f"clip{number}" for number in range(clips)]
    rows: list[dict[str, Any]] = [
        {"seed": seed, "clip_id": name, "split": split, "seconds": 1.0, "caption": f"seed {seed} on {split} {name}"}
        for seed in (0, 1)
        for split, part in (("validation", names[:3]), ("test", names[3:]))
        for name in part
    ]
    pq.write_table(pa.Table.from_pylist(rows, caption_schema()), files / "S-a" / "predictions.parquet")
    truth = [{"clip_id": name, "split": "test", "captions": [f"a {name} | b", f"the {name}", "more"]} for name in names]
    pq.write_table(pa.Table.from_pylist(truth), files / "manifest.parquet")


def table_of(client: MlflowClient, run_id: str, into: Path) -> dict[str, Any]:
    return json.loads(Path(client.download_artifacts(run_id, "samples.json", str(into))).read_text())


def test_a_row_shows_what_it_answered_to_the_clips_of_the_report(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_captions(files)
    client, run_id = client_of(files), sync(files)["experiments"]["p/mini"]["S"]
    table = table_of(client, run_id, tmp_path)
    assert table["columns"] == ["clip", "answer", "reference"] and len(table["data"]) == SAMPLES
    for clip, answer, reference in table["data"]:
        assert (reference, answer) == (f"a {clip} | b\nthe {clip}", f"seed 0 on test {clip}")
    answers = {"S": files / "S-a" / "predictions.parquet"}
    shown = examples(Examples(manifest=files / "manifest.parquet", store=files, answers=answers))
    assert [example.clip_id for example in shown] == [row[0] for row in table["data"][:CLIPS]]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{files}/results/mlflow.db")
    number = client.get_experiment_by_name("p/mini").experiment_id
    assert client.load_table(number, "samples.json").values.tolist() == table["data"]


def test_answers_come_to_runs_that_are_there_and_are_logged_once(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sync(files)
    write_captions(files)

    def dying(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(MlflowClient, "set_tag", dying)
        sync(files)
    assert sync(files) == before
    run_id = before["experiments"]["p/mini"]["S"]
    assert len(table_of(client_of(files), run_id, tmp_path)["data"]) == SAMPLES
    once = contents(client_of(files))
    assert sync(files) == before
    assert contents(client_of(files)) == once


def seen(browser: Browser, *texts: str) -> str:
    """The text of a page as soon as it holds all of these."""
    page = ""
    for _ in range(600):
        page = str(browser.run("return document.body.innerText"))
        if all(text in page for text in texts):
            return page
        time.sleep(0.2)
    pytest.fail(page)


def test_the_addresses_lead_to_pages_for_training(files: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a browser that has never been there, which else would open pages for language models."""
    with chromium(files) as browser, serving(files, free_port()) as server:
        with caplog.at_level("INFO"):
            sync(files, server)
        told = {record.msg: record.args[-1] for record in caplog.records if record.args and "/#/" in str(record.args)}
        browser.ask("POST", "url", url=told["its rows: %s"])
        page = seen(browser, "spectral + visual (S)", "AV (AV)", "2 matching runs")
        assert "Model registry" in page and "Traces\nSessions" not in page
        browser.ask("POST", "url", url="about:blank")
        browser.ask("POST", "url", url=told["its rows side by side: %s"])
        page = seen(browser, "Comparing", "Runs from 1 Experiment")
        assert "Model registry" in page and "AI Gateway" not in page


def test_experiments_that_are_there_become_ones_of_training(files: Path) -> None:
    sync(files)
    client = client_of(files)
    number = client.get_experiment_by_name("p/mini").experiment_id
    client.delete_experiment_tag(number, "mlflow.experimentKind")
    sync(files)
    assert client.get_experiment(number).tags["mlflow.experimentKind"] == "custom_model_development"
    assert runs_of(client)
