"""Copies of the project, and Snakemake in them at the smoke scale."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS = ("Snakefile", "rules", "workflow_scripts", "composed", "profiles", "envs", "papers")


def copied(folder: Path) -> Path:
    """A copy of the project in a folder, to which things can be added."""
    for name in PARTS:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    for path in ROOT.glob("*.yaml"):
        shutil.copy(path, folder)
    return folder


def with_study(project: Path, page: str, study: str, changes: dict[str, str]) -> Path:
    """The project with the corpus, in one shard, and the paper that a page of docs/ shows, some texts changed."""
    text = (ROOT / "docs" / page).read_text()
    corpus, paper = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    with (project / "corpora.yaml").open("a") as file:
        file.write(f"\n{corpus.replace('shards: 2', 'shards: 1')}")
    for right, other in changes.items():
        assert right in paper, right
        paper = paper.replace(right, other)
    folder = project / "papers" / study
    folder.mkdir()
    (folder / "paper.yaml").write_text(paper)
    (folder / "published.csv").write_text(re.search(r"`(table,group[^`]*)`", text)[1] + "\n")
    (folder / "claims.yaml").write_text("claims: []\n")
    return project


def smoke(project: Path, targets: list[str], options: tuple[str, ...] = (), config: tuple[str, ...] = ()) -> str:
    """The output of a call that must succeed; `options` stand before the targets, `config` beside the scale."""
    code, output = tried(project, targets, options, config)
    assert code == 0, output
    return output


def tried(
    project: Path, targets: list[str], options: tuple[str, ...] = (), config: tuple[str, ...] = ()
) -> tuple[int, str]:
    """The exit code and the output of a call."""
    call = [sys.executable, "-m", "snakemake", "--cores", "2", *options, "--config", "scale=smoke", *config, "--"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*call, *targets], cwd=project, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr
