"""Fixtures that all tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from workflow_scripts.assets.fetch import fetch
from workflow_scripts.settings.assets import Catalogue

ROOT = Path(__file__).parent.parent
settings.register_profile("untimed", deadline=None)  # speed is never an assertion
settings.load_profile("untimed")
os.environ["PYTHONPATH"] = str(ROOT)  # commands under test run in temporary folders


@pytest.fixture(scope="session", autouse=True)
def own_constructors() -> None:
    """torch remembers what makes tensors at the first use of a device: before transformers has exchanged linspace."""
    import torch

    with torch.device("meta"):
        torch.empty(0)


@pytest.fixture(scope="session")
def asset() -> Callable[[str], Path]:
    """`asset(id)`: the file of a catalogued asset, fetched by the project's own code and kept between runs."""
    catalogue = Catalogue.load(ROOT / "assets.yaml").assets

    def get(name: str) -> Path:
        target = ROOT / "work" / "assets" / name / catalogue[name].file_name
        fetch(name, catalogue[name], target)
        return target

    return get


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real metadata and reference outputs beside the checkout; the test is skipped where it is absent."""
    folder = ROOT.parent / "shared"
    if not folder.exists():
        pytest.skip("the folder ../shared is not there")
    return folder
