"""The documentation: its commands run, its links lead somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("papers/*/NOTES.md")])
TEXT = "\n".join(page.read_text() for page in PAGES)
WORKFLOWS = sorted(set(re.findall(r"snakemake (?:-|--)[^`#\n|…]*results/[^`#\n|]*", TEXT)))
MODULES = sorted(set(re.findall(r"python -m (workflow_scripts[\w.]+)", TEXT)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("command", WORKFLOWS)
def test_workflow_commands_can_be_planned(command: str, tmp_path: Path) -> None:
    if "<" in command:
        pytest.skip("a pattern, not a command")
    if "my_sounds" in command:
        pytest.skip("of a paper that the reader adds; run in test_workflow.py")
    words = shlex.split(command)[1:]
    call = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--directory",
        str(tmp_path),
        "-n",
    ]
    words = [word for word in words if word not in {"-R", "fetch_clips"}]  # nothing has run here that could be repeated
    done = subprocess.run([*call, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_module_commands_have_help(module: str) -> None:
    if module == "workflow_scripts.settings.document":
        pytest.skip("takes no options; tested in test_settings.py")
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_commands_were_found() -> None:
    assert len(WORKFLOWS) >= 6
    assert len(MODULES) >= 3
