"""Configuration: refused before any job starts, in one sentence that says what to do; documented from the models."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs import reference
from workflow_scripts.errors import UserError
from workflow_scripts.plan.checks import check
from workflow_scripts.settings import papers
from workflow_scripts.settings.base import overlay, read_yaml
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", sorted(reference.pages()))
def test_documentation_is_in_step(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == reference.pages()[name], "run `python -m docs.reference`"


@pytest.mark.parametrize("scale", sorted(papers.OVERLAYS))
def test_every_paper_is_valid_at_every_scale(scale: str) -> None:
    here = Scale(ROOT, Config(), scale)
    assert here.papers
    assert all(here.paper(name).experiments for name in here.papers)
    check(here)


def test_config_file_is_the_default() -> None:
    assert Config.check(read_yaml(ROOT / "config.yaml"), "config.yaml") == Config()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the workflow reads, to be spoilt."""
    for name in ("Snakefile", "config.yaml", "corpora.yaml", "assets.yaml", "resources.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("rules", "papers", "profiles", "workflow_scripts", "composed"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


MISTAKES = {
    "unknown key": (
        "config.yaml",
        "scale: mini",
        "scael: mini",
        "config.yaml: unknown key 'scael'; did you mean 'scale'?",
    ),
    "unknown scale": (
        "config.yaml",
        "scale: mini",
        "scale: tiny",
        "'scale': input should be 'mini', 'pilot', 'full' or 'smoke'",
    ),
    "no number": ("config.yaml", "seeds: null", "seeds: many", "config.yaml: 'seeds': input should be a valid integer"),
    "unknown stage": (
        "resources.yaml",
        "  decoding:",
        "  decodng:",
        "resources.yaml (mini): unknown key 'decodng'; did you mean 'decoding'?",
    ),
    "unknown scale of resources": ("resources.yaml", "smoke:", "smok:", "unknown scale 'smok'; did you mean 'smoke'?"),
    "unknown resource": ("resources.yaml", "mem_mb: 4000", "mem: 4000", "'assets.mem'; did you mean 'mem_mb'?"),
    "too small": ("config.yaml", "limit: null", "limit: 0", "'limit': input should be greater than or equal to 1"),
    "unknown paper": (
        "config.yaml",
        "papers: null",
        "papers: [boes_avsd]",
        "no folder papers/boes_avsd; did you mean 'boes_avsed'?",
    ),
    "nested key": (
        "config.yaml",
        "device: auto",
        "download: {retrys: 3}",
        "unknown key 'download.retrys'; did you mean 'retries'?",
    ),
    "climbing out": ("config.yaml", "work_dir: work", "work_dir: ../work", "'work_dir': write the folder without '..'"),
    "like nothing": (
        "papers/yt8m_text/paper.yaml",
        "like: moe_va\n",
        "like: mo_va\n",
        "experiments.moe_v.like: there is no 'mo_va'; did you mean 'moe_va'?",
    ),
    "like itself": (
        "papers/yt8m_text/paper.yaml",
        "  moe_va:\n",
        "  moe_va:\n    like: moe_v\n",
        "like: it comes back to",
    ),
    "uses itself": (
        "papers/yt8m_text/paper.yaml",
        "uses: {moe_A: moe_A,",
        "uses: {moe_A: ensemble_average,",
        "experiments.ensemble_average.uses: it uses itself, directly or through other experiments",
    ),
    "unknown reduction": (
        "papers/yt8m_text/paper.yaml",
        "reductions: [lexicon]",
        "reductions: [lexicno]",
        "reductions: there is no 'lexicno'; did you mean 'lexicon'?",
    ),
    "unknown model setting": (
        "papers/yt8m_text/paper.yaml",
        "inputs: [visual, audio], experts: 2}",
        "inputs: [visual, audio], expert: 2}",
        "unknown key 'model.moe.expert'; did you mean 'experts'?",
    ),
    "figure without values": (
        "papers/yt8m_text/paper.yaml",
        "    kind: bars\n    values: text_statistics\n",
        "    kind: bars\n    experiment: moe_va\n",
        "the kind 'bars' needs the key 'values'",
    ),
    "records with a link": (
        "corpora.yaml",
        "  text: {source: release}\n",
        "  text: {source: release}\n  link: x\n",
        "link: a corpus of records has no links of its own, write null",
    ),
    "unknown reader": (
        "corpora.yaml",
        "reader: dcase2018",
        "reader: dcase2108",
        "'dcase2108' is not in workflow_scripts/corpora/readers; did you mean 'dcase2018'?",
    ),
    "unknown asset": (
        "corpora.yaml",
        "weak: dcase2018_weak",
        "weak: dcase2018_week",
        "no asset 'dcase2018_week' in assets.yaml; did you mean 'dcase2018_weak'?",
    ),
    "bad checksum": ("assets.yaml", "sha256: a5ad2bf", "sha256: XYZ", "assets.yaml: 'assets.yamnet_index.sha256'"),
    "unknown corpus": (
        "papers/boes_avsed/mini.yaml",
        "dcase: dcase2018_composed",
        "dcase: dcase2018_composd",
        "no corpus 'dcase2018_composd' in corpora.yaml; did you mean 'dcase2018_composed'?",
    ),
    "unknown feature": (
        "papers/boes_avsed/paper.yaml",
        "features: [spectral]",
        "features: [spectrall]",
        "there is no 'spectrall'; did you mean 'spectral'?",
    ),
    "unknown extractor setting": (
        "papers/boes_avsed/mini.yaml",
        "mels: 32",
        "mel_bins: 32",
        "features.spectral.settings: unknown key 'mel_bins'",
    ),
    "unknown training setting": (
        "papers/boes_avsed/mini.yaml",
        "peak_rate:",
        "peak_rat:",
        "unknown key 'optimisation.peak_rat'; did you mean 'peak_rate'?",
    ),
    "doubled key": ("config.yaml", "scale: mini", "scale: mini\nscale: full", "'scale' stands twice"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_one_sentence(mistake: str, project: Path) -> None:
    file, right, wrong, message = MISTAKES[mistake]
    text = (project / file).read_text()
    assert right in text
    (project / file).write_text(text.replace(right, wrong, 1))
    command = [sys.executable, "-m", "snakemake", "-n", "results/table3.csv"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    assert done.returncode != 0
    assert message in " ".join(output.split())
    assert "Traceback" not in output
    assert not (project / "work").exists()


def test_overlay() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 4}
    assert overlay(base, {"a": {"c": [3]}, "e": 5}) == {"a": {"b": 1, "c": [3]}, "d": 4, "e": 5}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 4}


def test_sweep_varies_one_setting() -> None:
    paper = Scale(ROOT, Config(), "full").paper("boes_avsed")
    tried = papers.swept(paper, "auditory_with_spectral")
    sizes = [experiment.settings["network"]["projections"] for experiment in tried.values()]
    assert sizes == [{"auditory": size} for size in (4, 8, 16, 32, 64, 128)]
    assert [experiment.seeds for experiment in tried.values()] == 6 * [5]
    assert paper.experiments["SA"].seeds == 20
    few = Scale(ROOT, Config(), "smoke").paper("boes_avsed")
    assert {experiment.seeds for experiment in papers.swept(few, "auditory_with_spectral").values()} == {
        few.experiments["SA"].seeds
    }


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.yaml: cannot be read"):
        read_yaml(tmp_path / "config.yaml")


def test_one_paper_or_more_by_their_names() -> None:
    """As the command line gives them."""
    assert Config.check({"papers": "boes_avsed"}, "--config").papers == ["boes_avsed"]
    assert Config.check({"papers": "boes_avsed,datar"}, "--config").papers == ["boes_avsed", "datar"]
