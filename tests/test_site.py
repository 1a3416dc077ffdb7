"""The documentation site: it builds without a warning, has what code and papers say, and refuses links to nowhere."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs import reference
from workflow_scripts.settings import papers
from workflow_scripts.settings.assets import Catalogue

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of all that pages are made from, to be spoilt."""
    folder = tmp_path_factory.mktemp("site")
    left_out = shutil.ignore_patterns("__pycache__", "generated", "data", "work", "results", "logs", ".*")
    for name in ("docs", "papers", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=left_out)
    for file in [*ROOT.glob("*.md"), *ROOT.glob("*.yaml")]:
        shutil.copy(file, folder)
    return folder


def built(sources: Path, builder: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", builder, "docs", "site"]
    return subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)


def test_the_site_has_what_code_and_papers_say(sources: Path) -> None:
    done = built(sources, "html")
    assert done.returncode == 0, done.stdout + done.stderr
    site = sources / "site"
    for name in papers.names(ROOT / "papers"):
        assert f'href="generated/papers/{name}.html"' in (site / "mini-scale.html").read_text()
    catalogue = (site / "generated" / "catalogues.html").read_text()
    assert all(name in catalogue for name in Catalogue.load(ROOT / "assets.yaml").assets)
    settings = list((site / "generated" / "settings").glob("*.html"))
    assert len(settings) == "\n".join(reference.configuration()).count("\n## ")
    commands = (site / "generated" / "commands.html").read_text()
    assert all(word in commands for word in ("scores captions", "--references", "workflow_scripts.new_paper"))
    assert "frame_seconds" in (site / "generated" / "files.html").read_text()


@pytest.mark.parametrize(
    ("page", "text", "said"),
    [
        ("docs/design.md", "[x](nowhere.md)", "nowhere.md"),
        ("papers/datar/NOTES.md", "[x](../../docs/glossary.md#no-such-word)", "no-such-word"),
        ("docs/lost.md", "# A page that no list names", "isn't included in any toctree"),
    ],
)
def test_what_leads_nowhere_is_refused(sources: Path, page: str, text: str, said: str) -> None:
    before = (sources / page).read_text() if (sources / page).exists() else None
    (sources / page).write_text(f"{before or ''}\n{text}\n")
    done = built(sources, "dummy")
    if before is None:
        (sources / page).unlink()
    else:
        (sources / page).write_text(before)
    assert done.returncode == 1 and said in done.stderr, done.stdout + done.stderr
