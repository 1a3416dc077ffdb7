"""What stands beside boes_avsed's own numbers: newer embeddings, and tables that the paper does not print."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from projects import smoke

from workflow_scripts.features.extractors.panns import Extractor
from workflow_scripts.models.panns import Panns
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.tables import plan as tables
from workflow_scripts.tracking.plan import sync_tracking

ROOT = Path(__file__).parent.parent


@torch.inference_mode()
def test_panns_embeddings_are_those_of_cnn14(tmp_path: Path) -> None:
    """From a file as it is published, with its front end and classifiers; 10 s have 31 frames."""
    torch.manual_seed(0)
    network = Panns("cnn14", augment=False).eval()
    extra = {"fc1.weight": torch.zeros(2, 2), "logmel_extractor.melW": torch.zeros(2, 2)}
    torch.save({"model": {**network.state_dict(), **extra}}, tmp_path / "cnn14.pth")
    extract = Extractor().load({"cnn14_audioset": tmp_path / "cnn14.pth"}, "cpu")
    waveforms = 0.3 * np.sin(np.arange(2 * 48_000).reshape(2, -1) * 0.07).astype(np.float32)
    found = extract(waveforms)
    assert found.shape == (2, *Extractor().shape(1.5)) == (2, 4, 2048)
    np.testing.assert_allclose(found, network(torch.from_numpy(waveforms))[0].numpy(), atol=1e-5)
    assert Extractor().shape(10) == (31, 2048)


def test_tables_on_request_are_no_part_of_tracking_and_coverage() -> None:
    scale = Scale(ROOT, Config(), "full")
    assert tables.declared(scale, "boes_avsed", "newer_embeddings").on_request
    assert "newer_embeddings" not in tables.regular(scale, "boes_avsed")
    assert not {"SP", "P"} & sync_tracking(scale, "boes_avsed").scores.keys()
    assert not any("panns" in ledger.name for ledger in tables.count_coverage(scale, "boes_avsed").ledgers)


def cells(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(newline="") as file:
        return {(line["row"], line["column"]): line for line in csv.DictReader(file)}


@pytest.mark.slow
def test_the_tables_that_the_paper_does_not_print(tmp_path: Path) -> None:
    """Through the workflow, from the composed clips: every cell is measured."""
    project = tmp_path / "project"
    project.mkdir()
    for name in ("Snakefile", "rules", "workflow_scripts", "composed", "profiles", "envs", "papers"):
        (project / name).symlink_to(ROOT / name)
    for path in ROOT.glob("*.yaml"):
        (project / path.name).symlink_to(path)
    (ROOT / "work" / "assets").mkdir(parents=True, exist_ok=True)
    (project / "work").mkdir()
    (project / "work" / "assets").symlink_to(ROOT / "work" / "assets")
    names = ("newer_embeddings", "table3_sound", "detection", "classes")
    smoke(project, [f"results/smoke/boes_avsed/{name}.csv" for name in names], config=("papers=[boes_avsed]",))
    found = {name: cells(project / "results" / "smoke" / "boes_avsed" / f"{name}.csv") for name in names}
    assert {row for row, _ in found["newer_embeddings"]} == {
        "spectral", "spectral + auditory", "spectral + PANNs", "auditory", "PANNs"
    }  # fmt: skip
    assert len(found["classes"]) == 70
    for name in ("newer_embeddings", "table3_sound", "detection"):
        assert {cell["status"] for cell in found[name].values()} == {"measured"}
    sound = found["newer_embeddings"]["spectral + PANNs", "PSDS 1"]
    assert sound["unit"] == "x100"
    assert 0 <= float(sound["ci_low"]) <= float(sound["measured"]) <= float(sound["ci_high"]) <= 100
    assert math.isfinite(float(found["detection"]["spectral", "Event error rate"]["measured"]))
