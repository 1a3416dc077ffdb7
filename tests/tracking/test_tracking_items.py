"""Names, params and curves as MLflow takes them, and what is read from the files of a run."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import _validate_metric_name

from workflow_scripts.tracking import store
from workflow_scripts.tracking.items import Place, row_item, run_params, thin
from workflow_scripts.tracking.names import clean, flatten, unique


@given(st.text(min_size=1, max_size=400))
def test_any_label_becomes_a_name_that_mlflow_takes(label: str) -> None:
    name = clean(label)
    assert clean(name) == name
    try:
        _validate_metric_name(name)
    except MlflowException as error:
        pytest.fail(str(error))


@given(st.lists(st.sampled_from(["a", "a ", "a%", "b(", "b)", "x" * 300, "x" * 260]), max_size=12))
def test_no_two_labels_share_a_name(labels: list[str]) -> None:
    names = unique(labels)
    assert len(set(names)) == len(names) == len(labels)
    assert all(len(name) <= 250 for name in names)


@given(st.integers(0, 2000), st.integers(2, 300))
def test_a_thinned_curve_keeps_its_ends_and_order(length: int, most: int) -> None:
    curve = list(range(length))
    thinned = thin(curve, most)
    assert len(thinned) == min(length, most)
    assert thinned == sorted(set(thinned))
    assert thinned[:1] + thinned[-1:] == curve[:1] + curve[-1:]


def test_nested_params_become_one_level_of_short_text() -> None:
    values = {"a": {"b": 1, "c": {}}, "d": None, "e": ["x", "y"], "f": [[2, 2], [1, 2]], "g": []}
    assert flatten(values) == {"a.b": "1", "a.c": "{}", "d": "null", "e": "x, y", "f": "[2, 2], [1, 2]", "g": "[]"}


def test_definitions_lose_their_prefix_unless_it_tells_two_apart() -> None:
    params = {"definition": {"steps": 4, "device": "any"}, "device": "cpu", "seeds": [1, 2]}
    assert run_params(params) == {"steps": "4", "definition.device": "any", "device": "cpu"}


@pytest.mark.parametrize(
    ("uri", "secrets"),
    [
        ("https://u:p4ss@h/x", ["u:p4ss", "p4ss"]),
        ("https://t0ken@h", ["t0ken"]),
        ("https://u:p4/ss@h", ["p4/ss"]),
        ("postgresql://u:p%404ss@h/d?password=hidden", ["p@4ss", "p%404ss", "hidden"]),
    ],
)
def test_nothing_secret_is_said(uri: str, secrets: list[str]) -> None:
    said = store.redacted(f"{uri} failed for {' '.join(secrets)}", uri)
    assert "failed for" in said
    assert not any(secret in said for secret in secrets)


def test_the_cells_written_by_csv_are_read_exactly(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["row", "column", "measured"], ["r, 1", 'c "2"', value]])
    found = row_item("S", "S", [], [tmp_path / "t.csv"], [Place("t", "", "r, 1")])
    assert found.later == [("t/c _2_", value, 0)]
