"""Settings that no run can mean: refused by the checks before any job, in a sentence that names file and key."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from workflow_scripts.errors import UserError
from workflow_scripts.plan.checks import check
from workflow_scripts.settings.base import read_yaml
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.tracking import plan as tracking

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that settings are read from; tests put back what they spoil."""
    folder = tmp_path_factory.mktemp("declared")
    for name in ("config.yaml", "corpora.yaml", "assets.yaml", "resources.yaml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "papers", folder / "papers")
    return folder


@pytest.fixture
def project(declared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(declared)
    return declared


def checked(folder: Path, scale: str = "mini", **chosen: Any) -> None:
    check(Scale(folder, Config.check(read_yaml(folder / "config.yaml") | chosen, "config.yaml"), scale))


def spoilt(path: Path, *changes: tuple[str, str]) -> str:
    """Puts one text in the place of another; returns what the file was."""
    text = before = path.read_text()
    for right, wrong in changes:
        assert right in text
        text = text.replace(right, wrong, 1)
    path.write_text(text)
    return before


PAPER = "papers/boes_avsed/paper.yaml"
TEXT = "papers/yt8m_text/paper.yaml"
CLAIMS = "papers/yt8m_text/claims.yaml"
LINK = "link: https://www.youtube.com/watch?v={video_id}"
MISTAKES = {
    "endless clip": (
        "corpora.yaml",
        "clip_seconds: 10",
        "clip_seconds: .inf",
        "clip_seconds': input should be a finite",
    ),
    "no number": ("corpora.yaml", "clip_seconds: 10", "clip_seconds: .nan", "clip_seconds': input should be"),
    "negative": (
        "corpora.yaml",
        "clip_seconds: 10",
        "clip_seconds: -1",
        "clip_seconds': input should be greater than 0",
    ),
    "huge clip": ("corpora.yaml", "clip_seconds: 10", "clip_seconds: 1.0e+12", "less than or equal to 86400"),
    "many shards": ("corpora.yaml", "shards: 8", "shards: 10000000", "shards': input should be less than or equal to"),
    "the same link": ("corpora.yaml", LINK, "link: https://x.org/", "link: all clips would have the same one"),
    "unknown field": ("corpora.yaml", LINK, "link: https://x.org/{video}", "have no 'video'; did you mean 'video_id'?"),
    "no field": ("corpora.yaml", LINK, "link: https://x.org/{0}", "'{0}' is no field"),
    "open brace": ("corpora.yaml", LINK, "link: 'https://x.org/{'", "corpora.dcase2018_task4"),
    "name of a corpus": ("corpora.yaml", "dcase2018_pilot:", "../x:", "'../x' is no name"),
    "name of an asset": ("assets.yaml", "yamnet_index:", '"a b":', "'a b' is no name"),
    "name of an experiment": (TEXT, "  moe_va:\n", "  a/b: {like: moe_v}\n  moe_va:\n", "'a/b' is no name"),
    "quote": (TEXT, "  moe_va:\n", "  a'b: {like: moe_v}\n  moe_va:\n", "is no name"),
    "dot": (TEXT, "  moe_va:\n", "  .ab: {like: moe_v}\n  moe_va:\n", "'.ab' is no name"),
    "huge layer": (TEXT, "experts: 2}", "experts: 1000000000000}", "less than or equal to 10000000"),
    "switch": (
        "corpora.yaml",
        "clip_seconds: 10",
        "clip_seconds: yes",
        "'clip_seconds' should be a number (found True)",
    ),
    "table of a claim": (
        CLAIMS,
        '{table: table2, row: "Mixture of Expert: Visual"',
        '{table: tabel2, row: "Mixture of Expert: Visual"',
        "no table 'tabel2'; did you mean 'table2'?",
    ),
    "cell of a claim": (
        CLAIMS,
        'row: "Mixture of Expert: Visual"',
        'row: "Mixture of Visual"',
        "table2 has nothing at Mixture of Visual / GAP",
    ),
    "relation of a claim": (CLAIMS, "relation: greater", "relation: above", "relation"),
    "predicted split": (TEXT, "predict_splits: [validation]", "predict_splits: [valid]", "has no split 'valid'"),
    "split of a column": (
        TEXT,
        'metric: gap, unit: "%", split: validation',
        'metric: gap, unit: "%", split: test',
        "predicts no clips of the split 'test'",
    ),
    "file of values": (
        "papers/temp4cap/paper.yaml",
        "values: table2",
        "values: tabel2",
        "no reduction or listening test 'tabel2'; did you mean 'table2'?",
    ),
    "metric": (TEXT, "metric: gap", "metric: gaps", "has no metric 'gaps'; did you mean 'gap'?"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_refused(mistake: str, project: Path) -> None:
    file, right, wrong, sentence = MISTAKES[mistake]
    before = spoilt(project / file, (right, wrong))
    try:
        with pytest.raises(UserError) as refused:
            checked(project)
    finally:
        (project / file).write_text(before)
    assert sentence in str(refused.value)
    assert Path(file).parent.name in str(refused.value)


@pytest.mark.parametrize(("location", "good"), [("https://x.org/", False), ("https://x.org/..", False),
                                                ("https://[x", False), ("https://x.org/a.zip", True)])  # fmt: skip
def test_an_asset_has_the_name_of_a_file(location: str, good: bool, project: Path) -> None:
    values = read_yaml(ROOT / "assets.yaml")
    before = (project / "assets.yaml").read_text()
    (project / "assets.yaml").write_text(yaml.safe_dump({"a": {**next(iter(values.values())), "location": location}}))
    try:
        with pytest.raises(UserError, match="no asset" if good else r"assets\.yaml: 'assets\.a"):
            checked(project)
    finally:
        (project / "assets.yaml").write_text(before)


def test_a_row_stands_once(project: Path) -> None:
    file = project / PAPER
    values = read_yaml(file)
    table = next(table for table in values["tables"].values() if table.get("rows"))
    table["rows"].append(table["rows"][0])
    before = file.read_text()
    file.write_text(yaml.safe_dump(values))
    try:
        with pytest.raises(UserError, match=r"tables\..*: rows: '.*' stands twice; give one another label"):
            checked(project)
    finally:
        file.write_text(before)


def test_the_printed_numbers_are_there(project: Path) -> None:
    (project / "papers/boes_avsed/published.csv").rename(project / "away")
    try:
        with pytest.raises(UserError, match=r"papers/boes_avsed/published\.csv: cannot be read"):
            checked(project)
    finally:
        (project / "away").rename(project / "papers/boes_avsed/published.csv")


COOKIE = ".youtube.com\tTRUE\t/\tTRUE\t0\tPREF\tx\n"
COOKIES = {
    "": "holds no cookie",
    "# Netscape HTTP Cookie File\n": "holds no cookie",
    "PREF=x; SID=y\n": "line 1: no cookie in Netscape's format",
    f"# Netscape HTTP Cookie File\n{COOKIE}{COOKIE.replace(chr(9), ' ')}": "line 3: no cookie",
    '{"cookies": []}\n': "line 1: no cookie",
}


@pytest.mark.parametrize("text", COOKIES)
def test_cookies(text: str, project: Path) -> None:
    path = project / "cookies.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"config\.yaml: download\.cookies: {path}.*{COOKIES[text]}"):
        checked(project, download={"cookies": str(path)})


def test_good_cookies_and_absent_ones(project: Path) -> None:
    (project / "cookies.txt").write_text(f"# Netscape HTTP Cookie File\n\n{COOKIE}#HttpOnly_{COOKIE}")
    checked(project, download={"cookies": "cookies.txt"})
    with pytest.raises(UserError, match=r"away\.txt: cannot be read"):
        checked(project, download={"cookies": "away.txt"})


ADDRESSES = ["mlruns", "file:mlruns", "sqlite://mlflow.db", "sqlite:///", "http://", "http://host:port", "sqlite:///config.yaml",
             "sqlite:///papers", "sqlite:///config.yaml/mlflow.db", "postgresql+nosuch://host/db", ":"]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_unusable_tracking_address(address: str, project: Path) -> None:
    with pytest.raises(UserError, match=r"config\.yaml: tracking_uri: "):
        checked(project, tracking_uri=address)


def test_mlflow_under_a_percent_sign_is_told_before_anything_runs(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", "/disk/50%/.venv")
    with pytest.raises(UserError, match=r"tracking_uri: MLflow makes no database if its own path has a %, /disk/50%"):
        checked(project, tracking_uri="sqlite:///results/mlflow.db")
    checked(project, tracking_uri="http://127.0.0.1:5000")


@pytest.mark.parametrize(
    "address", ["sqlite:///results/mlflow.db", "http://127.0.0.1:5000", None, "null", "~", "sqlite:////tmp/x.db"]
)
def test_a_usable_tracking_address(address: str | None, project: Path) -> None:
    checked(project, tracking_uri=address)


def test_nulls_of_the_command_line() -> None:
    nested = {"cookies": "null", "proxy": "null", "rate_limit": "null"}
    texts = Config.check(
        {"limit": "null", "seeds": "NULL", "papers": "~", "tracking_uri": "null", "download": nested}, "config.yaml"
    )
    assert texts == Config(tracking_uri=None)


def test_a_sync_that_failed_has_another_identity_next_time(project: Path) -> None:
    scale = Scale(project, Config(work_dir=Path("work")), "mini")
    first = tracking.sync_tracking(scale, "nora_fusion")
    report = project / "work/mini/tracking/nora_fusion.json"
    report.parent.mkdir(parents=True)
    for text, again in (('{"synced": false, "failures": 1}', True), ('{"synced": true, "failures": 0}', False),
                        ("[" * 10_000, False), ("[]", False)):  # fmt: skip
        report.write_text(text)
        assert (tracking.sync_tracking(scale, "nora_fusion").digest() != first.digest()) is again


@pytest.mark.parametrize("content", [b"scale: mini # caf\xe9\n", b"[" * 100_000])
def test_a_config_file_that_is_none_ends_without_a_traceback(content: bytes, tmp_path: Path) -> None:
    for name in ("Snakefile", "workflow_scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "Snakefile").unlink()
    shutil.copy(ROOT / "Snakefile", tmp_path)
    (tmp_path / "config.yaml").write_bytes(content)
    command = [sys.executable, "-m", "snakemake", "-n"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "config.yaml" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
