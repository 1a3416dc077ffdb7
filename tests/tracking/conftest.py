"""Fixtures of the tests about MLflow."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from tracking_files import write_files


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without runs: making one takes a second, copying none."""
    database = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{database}")
    return database


@pytest.fixture
def files(tmp_path: Path, empty_store: Path) -> Path:
    """Outputs of two experiments (S in two folders), a table and a ledger, and an empty store."""
    return write_files(tmp_path, empty_store)
