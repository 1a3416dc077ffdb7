"""The documentation: its commands run as they stand, its links lead somewhere."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("papers/*/NOTES.md")])
TEXT = "\n".join(page.read_text() for page in PAGES)
WORKFLOWS = sorted({found.strip() for found in re.findall(r"snakemake -[^`#\n|]*", TEXT)})
MODULES = sorted(set(re.findall(r"python -m (workflow_scripts[\w.]+)", TEXT)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"``.+?``|`[^`\n]+`", "", page.read_text())  # code may look like links
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which nothing has run, in a folder whose name has a space and a quote."""
    folder = tmp_path_factory.mktemp("docs") / "it's a checkout"
    left_out = shutil.ignore_patterns(".*", "work", "logs", "results", "tests", "__pycache__", "*.sif")
    shutil.copytree(ROOT, folder, ignore=left_out)
    return folder


@pytest.mark.parametrize("command", WORKFLOWS)
def test_workflow_commands_can_be_planned(command: str, checkout: Path) -> None:
    if "…" in command or "<" in command:
        pytest.skip("a pattern, not a command")
    if "--report" in command:
        pytest.skip("of what a run has made; run in test_workflow.py")
    if "chirps" in command:
        pytest.skip("of the example, in its own folder; run in test_own_papers.py")
    if "my_sounds" in command or "my_events" in command:
        pytest.skip("of a paper that the reader adds; run in test_workflow.py and test_event_lists.py")
    line = [sys.executable, "-m", *shlex.split(command), "-n"]
    done = subprocess.run(line, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if "results/" in command:  # what is asked for is the target, and not the value of an option
        assert not re.search(r"^ all +1 *$", done.stdout + done.stderr, re.MULTILINE), done.stdout + done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_module_commands_have_help(module: str) -> None:
    if module == "docs.reference":
        pytest.skip("takes no options; tested in test_settings.py")
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_commands_were_found() -> None:
    assert len(WORKFLOWS) >= 12
    assert len(MODULES) >= 3
