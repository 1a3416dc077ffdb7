"""What nora_fusion concludes from figures without numbers: how training goes, and which digits are confused."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from workflow_scripts.errors import UserError
from workflow_scripts.rehearsal.plan import of_training
from workflow_scripts.scores.families.classification import Scorer
from workflow_scripts.settings.claims import Claims
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.settings.tables import Table
from workflow_scripts.tables.plan import CheckClaims, check_claims
from workflow_scripts.tables.reports import fluctuations
from workflow_scripts.training import costs, plan
from workflow_scripts.training.outputs import logit_schema, write_history

ROOT = Path(__file__).parent.parent


def history(path: Path, noise: dict[int, float]) -> None:
    """A loss that falls in a straight line, and scatters by `noise` about it; in the first epoch it falls steeply."""
    random, rows = np.random.default_rng(0), []
    path.parent.mkdir(parents=True, exist_ok=True)
    for seed, deviation in noise.items():
        for step in range(2000):
            loss = 50.0 - step if step < 40 else 2 - step / 2000 + deviation * random.standard_normal()
            rows.append({"seed": seed, "step": step, "epoch": 1 + step // 40, "loss": loss})
    write_history(path, rows)


def test_fluctuation_is_the_scatter_about_a_trend(tmp_path: Path) -> None:
    history(tmp_path / "history.parquet", {0: 0.1, 3: 0.4})
    found = fluctuations(tmp_path / "history.parquet")
    assert found == pytest.approx({"0": 0.1, "3": 0.4}, rel=0.05)


def checked(folder: Path, claims: list[dict[str, Any]], best: dict[str, dict[int, int]]) -> dict[str, dict[str, str]]:
    """The lines of claims about two experiments' best epochs and fluctuations."""
    facts = {}
    for name, epochs in best.items():
        history(folder / name / "history.parquet", dict.fromkeys(epochs, 0.1 * len(name)))
        (folder / name / "params.json").write_text(json.dumps({"best_epoch": epochs, "parameters": 7}))
        facts[name] = [folder / name / "params.json"]
    cells = [
        {"kind": "fact", "row": name, "column": column, "experiment": name, "key": key}
        for name in best
        for column, key in (("Best epoch", "best_epoch"), ("Fluctuation", "loss_fluctuation"), ("Size", "parameters"))
    ]
    (folder / "published.csv").write_text("table,group,row,column,unit,value,ci,note\nt,,a,Best epoch,,6,,\n")
    CheckClaims(
        paper="p", scale="mini", claims=Claims.check({"claims": claims}, "claims"),
        tables={"t": Table.check({"title": "t", "cells": cells}, "t")}, published=folder / "published.csv",
        replicates={}, counts={}, manifests={}, facts=facts,
    ).run(folder / "claims.csv", folder / "claims.md")  # fmt: skip
    with (folder / "claims.csv").open(newline="") as stream:
        return {line["claim"]: line for line in csv.DictReader(stream)}


def compared(claim: str, column: str, right: Any, relation: str) -> dict[str, Any]:
    sides = {"left": {"table": "t", "row": "a", "column": column}, "right": right}
    return {"id": claim, "text": claim, "compare": {**sides, "relation": relation}}


def test_claims_about_what_training_reports(tmp_path: Path) -> None:
    other = {"table": "t", "row": "bbb"}
    claims = [
        compared("earlier", "Best epoch", {**other, "column": "Best epoch"}, "less"),
        compared("calmer", "Fluctuation", {**other, "column": "Fluctuation"}, "less"),
        compared("late", "Best epoch", 10.0, "greater"),
        compared("size", "Size", {**other, "column": "Size"}, "less"),
    ]
    lines = checked(tmp_path, claims, {"a": {0: 5, 1: 6, 2: 7}, "bbb": {0: 9, 1: 30, 2: 26}})
    earlier = lines["earlier"]
    assert float(earlier["measured"]) == pytest.approx(6 - 65 / 3, abs=1e-3)
    assert (earlier["verdict"], earlier["published"]) == ("holds", "")
    assert "mean over all 3 seeds; 95 % percentile bootstrap over seeds" in earlier["note"]
    assert float(lines["calmer"]["measured"]) == pytest.approx(-0.2, abs=0.02)
    assert lines["calmer"]["verdict"] == "holds"
    assert (lines["late"]["verdict"], lines["late"]["published"]) == ("does not hold", "-4")
    assert lines["size"]["verdict"] == "not collected"  # one number for all seeds


def test_confused_pairs() -> None:
    """Of ten clips a 0 is taken for 1 and a 1 for 0; two 2 are taken for 0; and a 1 for 2."""
    true = [0, 0, 1, 1, 1, 2, 2, 2, 0, 1]
    found = [1, 0, 0, 1, 2, 0, 0, 2, 0, 1]
    schema = logit_schema(["0", "1", "2"])
    logits = pa.array([np.eye(3, dtype=np.float32)[label].tobytes() for label in found], schema.field("logits").type)
    predictions = pa.table([logits], schema=pa.schema([schema.field("logits")], metadata=schema.metadata))
    references = [{"clip_id": str(place), "labels": [str(label)]} for place, label in enumerate(true)]
    scorer = Scorer(classes=["0", "1", "2"], pairs=[("1", "0"), ("0", "2"), ("1", "2")])
    records = scorer.records(predictions, references)
    scores = {name: float(value[0]) for name, value in scorer.aggregate(records, np.ones((1, 10))).items()}
    assert list(scores) == list(scorer.metrics)
    assert scores["accuracy"] == 0.5
    assert (scores["confused:1-0"], scores["confused:0-2"], scores["confused:1-2"]) == (0.2, 0.2, 0.1)
    assert scores["confused_mean"] == pytest.approx(0.5 / 3)
    assert (scores["confused_beside:1-2"], scores["confused_beside:1-0"]) == (0.2, 0.2)
    # The rival stays that of the sample, 0-2, where a resample has more of another pair.
    resampled = scorer.aggregate(records, np.stack([np.ones(10), [9, 9, 9, 0, 1, 1, 1, 0, 0, 0]]))
    assert resampled["confused_beside:1-2"].tolist() == pytest.approx([0.2, 18 / 30])
    assert resampled["confused_beside:1-0"].tolist() == pytest.approx([0.2, 2 / 30])
    assert Scorer().records(predictions, references).shape == (10, 2)
    for settings, sentence in (
        ({"pairs": [("0", "1")]}, "'classes' of the scoring has none; the system has the classes 0, 1, 2"),
        ({"pairs": [("0", "3")], "classes": ["0", "1", "2"]}, "'pairs' of the scoring: '3' is not a class"),
    ):
        with pytest.raises(UserError, match=sentence):
            Scorer(**settings).records(predictions, references)


def test_claims_name_who_reports_what_they_are_about() -> None:
    job = check_claims(Scale(ROOT, Config(), "mini"), "nora_fusion")
    assert set(job.facts) == {"image", "audio", "concatenation", "attention"}
    assert {path.name for path in job.histories} == {"history.parquet"}


def test_inception_time_has_a_cost_of_its_own() -> None:
    """It multiplies about ninety times as much as the small network, and no other experiment pays for it."""
    full = Scale(ROOT, Config(), "full")
    parts = [of_training(full, "nora_fusion", name) for name in ("audio_inception_time", "audio")]
    needs = [{name: need.example for name, need in part.needs.items()} for part in parts]
    large, small = (costs.macs_a_clip(part.example, own, part.reader) for part, own in zip(parts, needs, strict=True))
    assert 3.0e9 < large / 3 < 3.8e9  # a clip on its way forward; a step is three ways
    assert large > 50 * small
    assert plan.minutes(full, "nora_fusion", "audio_inception_time") == 60
    assert plan.minutes(full, "nora_fusion", "audio") == 10
    assert list(plan.seed_groups(full, "nora_fusion", "audio_inception_time")) == [f"seeds-{n}-{n}" for n in range(5)]
    mini = Scale(ROOT, Config(), "mini")
    assert list(plan.seed_groups(mini, "nora_fusion", "audio_inception_time")) == ["seeds-0-2"]
