"""Papers, corpora and assets of one's own, beside the shared ones; how one is begun; what an editor checks."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from docs.reference import schema
from workflow_scripts.errors import UserError
from workflow_scripts.plan.checks import check
from workflow_scripts.settings.base import read_yaml
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.papers import OVERLAYS
from workflow_scripts.settings.scale import Scale

ROOT = Path(__file__).parent.parent
CORPUS = """{name}:
  title: Tones
  licence: MIT
  reader: audio_folder
  reading: {{folder: data}}
  archive: {{folder: data}}
  clip_seconds: 2
  shards: 1
"""
ASSET = "{name}: {{location: file:x.csv, kind: csv, sha256: null, licence: mine, used_by: []}}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which one runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def began(name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "workflow_scripts.new_paper", name, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_example_runs_with_the_rules_as_they_are(tmp_path: Path) -> None:
    names = ("corpora.local.yaml", "papers", "write_sounds.py")
    for path in (ROOT / "examples" / "chirps" / name for name in names):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    subprocess.run([sys.executable, tmp_path / "write_sounds.py", tmp_path / "data"], check=True)
    command = ["snakemake", "-s", ROOT / "Snakefile", "--directory", tmp_path, "--cores", "2"]
    targets = [f"results/smoke/chirps/{name}.csv" for name in ("table1", "claims")]
    line = [sys.executable, "-m", *command, *targets, "--config", 'papers_path=["papers"]']
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (cell,), (claim,) = (list(csv.DictReader((tmp_path / target).open(newline=""))) for target in targets)
    assert (cell["status"], cell["items"], cell["published"]) == ("measured", "36", "95.0")
    assert claim["claim"] == "better-than-chance" and claim["verdict"] in {"holds", "undecided", "does not hold"}


def test_what_is_ones_own_stands_beside_what_is_shared(here: Path) -> None:
    (here / "corpora.local.yaml").write_text(CORPUS.format(name="my_tones"))
    (here / "assets.local.yaml").write_text(ASSET.format(name="my_list"))
    (here / "resources.local.yaml").write_text("full: {training: {mem_mb: 1234}}\n")
    mini, smoke = (Scale(ROOT, Config(), name) for name in ("mini", "full"))
    check(mini)
    assert mini.corpora.keys() > {"my_tones", "vggsound"} and mini.assets.keys() > {"my_list", "yamnet_index"}
    plain = read_yaml(ROOT / "resources.yaml")
    assert smoke.stages.training.mem_mb == mini.stages.training.mem_mb == 1234 != plain["full"]["training"]["mem_mb"]
    assert mini.stages.features.mem_mb == plain["mini"]["features"].get("mem_mb", plain["full"]["features"]["mem_mb"])


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        (
            "corpora.local.yaml",
            CORPUS.format(name="vggsound"),
            "corpora.local.yaml: 'vggsound' stands in corpora.yaml too; give yours another name",
        ),
        (
            "assets.local.yaml",
            ASSET.format(name="emoji_font"),
            "assets.local.yaml: 'emoji_font' stands in assets.yaml too; give yours another name",
        ),
        ("corpora.local.yaml", "tones: {reader: x}", "corpora.local.yaml: the key 'corpora.tones.title' is missing"),
        (
            "corpora.local.yaml",
            CORPUS.format(name="tones") + "  reading: {}\n",
            "corpora.local.yaml, line 9: the key 'reading' stands twice",
        ),
        (
            "corpora.local.yaml",
            CORPUS.format(name="tones").replace("audio_folder", "audio_foldr"),
            "corpora.local.yaml: tones.reader: 'audio_foldr' is not in workflow_scripts/corpora/readers",
        ),
        ("resources.local.yaml", "full: {decodng: {}}", "resources.local.yaml (mini): unknown key 'decodng'"),
    ],
)
def test_mistakes_in_ones_own_files_are_told_of_these(here: Path, file: str, text: str, said: str) -> None:
    (here / file).write_text(text)
    with pytest.raises(UserError) as error:
        check(Scale(ROOT, Config(), "mini"))
    assert said in str(error.value)


def test_papers_of_ones_own_are_found_and_named_by_their_folder(here: Path) -> None:
    assert began("mine", "--folder", "papers of mine").returncode == 0
    config = Config(papers_path=[Path("papers of mine")])
    assert {"mine", "datar"} <= set(Scale(ROOT, config, "mini").papers)
    paper = here / "papers of mine" / "mine" / "paper.yaml"
    paper.write_text(paper.read_text().replace("metric: top1", "metric: top2"))
    with pytest.raises(UserError, match=r"^papers of mine/mine \(mini\): tables.table1: .*top2"):
        check(Scale(ROOT, config, "mini"))
    (here / "more" / "datar").mkdir(parents=True)
    shutil.copy(paper, here / "more" / "datar")
    with pytest.raises(UserError, match=r"^more/datar: there is a paper of this name in .*papers/datar; rename"):
        Scale(ROOT, Config(papers_path=[Path("more")]), "mini")
    with pytest.raises(UserError, match=r"config.yaml: papers_path: nowhere holds no folder with a paper.yaml"):
        Scale(ROOT, Config(papers_path=[Path("nowhere")]), "mini")


def test_a_paper_that_is_begun_is_whole_and_overwrites_nothing(here: Path) -> None:
    done = began("mine", "--folder", "own")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (here / "own" / "mine").iterdir()) == [
        "NOTES.md", "claims.yaml", "mini.yaml", "paper.yaml", "pilot.yaml", "published.csv", "smoke.yaml"
    ]  # fmt: skip
    for scale in OVERLAYS:
        check(Scale(ROOT, Config(papers=["mine"], papers_path=[Path("own")]), scale))
    files = {path: path.read_text() for path in (here / "own" / "mine").iterdir()}
    stated = files[here / "own" / "mine" / "paper.yaml"].split("$schema=")[1].split()[0]
    assert (here / "own" / "mine" / stated).resolve() == ROOT / "docs" / "schema" / "paper.schema.json"
    again = began("mine", "--folder", "own")
    assert again.returncode == 1 and again.stderr.startswith("error: own/mine: is there already, and stays as it is")
    assert {path: path.read_text() for path in (here / "own" / "mine").iterdir()} == files
    for name, said in (("datar", "a paper 'datar' in papers/"), ("-x", "no such option"), ("a b", "'a b' is no name")):
        refused = began(name, "--folder", "own")
        assert refused.returncode and said in refused.stderr.lower(), refused.stderr


YAMLS = sorted(
    path
    for pattern in ("*.yaml", "papers/*/*.yaml", "examples/*/*.yaml", "examples/*/papers/*/*.yaml",
                    "workflow_scripts/new_paper/template/*.yaml")
    for path in ROOT.glob(pattern)
    if not path.name.startswith(".")  # those of other tools
)  # fmt: skip


def schema_of(path: Path) -> str:
    name = path.name.split(".")[0]
    return "overlay" if name in {"mini", "smoke", "pilot"} else name


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_editor_accepts_every_file(path: Path) -> None:
    jsonschema.validate(read_yaml(path), schema(schema_of(path)))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("resources", {"full": {"training": {"mem": 1}}}),
        ("overlay", {"experiments": {"x": {"sede": 1}}}),
        ("paper", {**read_yaml(ROOT / "papers/datar/paper.yaml"), "tables": {"table1": {"titel": "x"}}}),
        ("claims", {"claims": [{"id": "x"}]}),
    ],
)
def test_an_editor_refuses_what_is_wrong(name: str, values: dict) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, schema(name))


def test_git_leaves_ones_own_files_alone() -> None:
    own = ["corpora.local.yaml", "assets.local.yaml", "resources.local.yaml", "examples/chirps/results/x.csv"]
    done = subprocess.run(["git", "check-ignore", *own], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 128:
        pytest.skip("this is no git checkout")
    assert done.stdout.split() == own
