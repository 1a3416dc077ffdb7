"""A project in a folder with a space and a quote, with its environment inside, which is then moved."""

import hashlib
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MANIFEST = "work/smoke/corpora/digits_smoke/manifest.parquet"
FEATURES = "work/smoke/features/nora_fusion/image/0.parquet"


def call(project: Path, *command: str) -> str:
    """The output of `./run COMMAND…` in a project, which must succeed."""
    done = subprocess.run([project / "run", *command], cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, whose `.venv` counts as made: it borrows the packages of this one."""
    folder = tmp_path / "it's a project"
    names = ("run", "Snakefile", "rules", "workflow_scripts", "composed", "profiles", "envs", "papers")
    folder.mkdir()
    for name in names:
        ignored = shutil.ignore_patterns("__pycache__")
        source = ROOT / name
        shutil.copytree(source, folder / name, ignore=ignored) if source.is_dir() else shutil.copy(source, folder)
    for path in ROOT.glob("*.yaml"):
        shutil.copy(path, folder)
    (ROOT / "work" / "assets").mkdir(parents=True, exist_ok=True)
    (folder / "work").mkdir()
    (folder / "work" / "assets").symlink_to(ROOT / "work" / "assets")
    subprocess.run([sys._base_executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    packages = next((folder / ".venv" / "lib").glob("python*/site-packages"))
    (packages / "borrowed.pth").write_text("\n".join(site.getsitepackages()))
    program = "from snakemake.cli import main\nmain()\n"
    (folder / ".venv" / "bin" / "snakemake").write_text(f"#!{folder}/.venv/bin/python\n{program}")  # as pip writes it
    (folder / ".venv" / "bin" / "snakemake").chmod(0o755)
    lock = (folder / "envs" / "requirements.txt").read_bytes()
    (folder / ".venv" / "requirements.sha256").write_text(hashlib.sha256(lock).hexdigest())
    subprocess.run([folder / ".venv" / "bin" / "python", folder / "envs" / "relocatable.py"], check=True)
    return folder


@pytest.mark.slow
def test_a_project_works_where_it_is_and_where_it_is_moved_to(project: Path) -> None:
    choice = ("snakemake", "--cores", "2", "--config", "scale=smoke", "seeds=1", "--")
    call(project, *choice, MANIFEST)
    moved = project.rename(project.with_name('another "place", it\'s far'))
    assert "Nothing to be done" in call(moved, *choice[:1], "-n", *choice[1:], MANIFEST)
    call(moved, *choice, FEATURES)
    assert (moved / FEATURES).exists()
    found = call(moved, "python", "-c", "import sys, workflow_scripts; print(sys.prefix, workflow_scripts.__path__[0])")
    assert found == f"{moved / '.venv'} {moved / 'workflow_scripts'}\n"
    line = ". .venv/bin/activate && python -c 'import sys; print(sys.prefix)'"
    done = subprocess.run(["bash", "-c", line], cwd=moved, capture_output=True, text=True, check=True)
    assert done.stdout == f"{moved / '.venv'}\n"
