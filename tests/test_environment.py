"""The environment's definitions: one set of pins, no trace of the machine that made them, and all that is imported."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent


def pins() -> list[str]:
    lines = (ROOT / "envs" / "requirements.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def test_every_dependency_is_pinned() -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[^\s;]+( *;.*)?", pin) for pin in pins())
    assert declared().keys() - {normal(pin.split("==")[0]) for pin in pins()} == set()


def declared() -> dict[str, str]:
    """What requirements.in names, with the reason that stands behind it, if any."""
    lines = (ROOT / "envs" / "requirements.in").read_text().splitlines()
    parts = [line.partition("#") for line in lines if line and not line.startswith("#")]
    return {normal(re.split(r"[=<>[]", name)[0].strip()): reason for name, _, reason in parts}


def imported() -> set[str]:
    """The packages of others that the code imports, by their names in registries."""
    modules = {"snakemake"}  # the rules' own language
    for folder in ("workflow_scripts", "composed", "benchmarks", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    modules |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    modules.add(node.module)
    for path in (ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")):
        modules |= set(re.findall(r"^\s*(?:import|from) ([\w.]+)", path.read_text(), re.MULTILINE))
    ours = {path.name for path in ROOT.iterdir()} | {path.stem for path in (ROOT / "tests").rglob("*.py")}
    tops = {module.split(".")[0] for module in modules} - ours - sys.stdlib_module_names
    shared = {"google": ["protobuf"], "mlflow": ["mlflow"]}  # modules whose folder several packages fill
    distributions = metadata.packages_distributions() | shared
    return {normal(distribution) for top in tops for distribution in distributions[top]}


def test_what_is_imported_is_declared_and_what_is_not_has_a_reason() -> None:
    found = imported()
    assert found - declared().keys() == set()
    assert [name for name, reason in declared().items() if name not in found and not reason] == []


def test_the_conda_environment_has_the_same_pins() -> None:
    environment = yaml.safe_load((ROOT / "envs" / "environment.yaml").read_text())
    assert environment["dependencies"][-1] == {"pip": pins()}


def test_the_container_is_made_from_the_same_lock() -> None:
    definition = (ROOT / "envs" / "encore.def").read_text()
    copied, target = re.search(r"%files\n +(\S+) (\S+)\n", definition).groups()
    assert (ROOT / copied) == ROOT / "envs" / "requirements.txt"
    assert re.findall(r"pip install .*", definition) == [f"pip install --no-cache-dir --requirement {target}"]
    python = re.search(r"From: python:(\d+\.\d+)-", definition)[1]
    environment = yaml.safe_load((ROOT / "envs" / "environment.yaml").read_text())
    assert f"python={python}" in environment["dependencies"]


def test_what_is_installed_is_the_lock() -> None:
    wanted = dict(pin.split(";")[0].strip().split("==") for pin in pins())
    assert {name: metadata.version(name) for name in wanted} == wanted


def test_run_asks_for_a_command() -> None:
    done = subprocess.run([str(ROOT / "run")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "./run snakemake --cores all results/table3.csv" in done.stderr


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`./run` of a project in a folder, whose environment counts as made, from a shell without a home."""
    for name in ("run", "envs/requirements.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    made = folder / ".venv"
    (made / "bin").mkdir(parents=True, exist_ok=True)
    (made / "bin" / "python").unlink(missing_ok=True)
    (made / "bin" / "python").symlink_to(sys.executable)
    (made / "requirements.sha256").write_text(hashlib.sha256((ROOT / "envs/requirements.txt").read_bytes()).hexdigest())
    given = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run([folder / "run", *command], capture_output=True, text=True, check=False, env=given)


def test_run_keeps_other_projects_modules_out(tmp_path: Path) -> None:
    (tmp_path / "other" / "numpy").mkdir(parents=True)
    (tmp_path / "other" / "numpy" / "__init__.py").write_text("raise ImportError('another project')")
    (tmp_path / "other" / "sitecustomize.py").write_text("raise SystemExit('another project')")
    code = "import os, sys; print(sorted(name for name in os.environ if name.startswith('PYTHON')), os.environ['HOME'])"
    for home in ({}, {"HOME": str(tmp_path / "nowhere")}):
        done = run(["python", "-c", code], tmp_path / "a project", PYTHONPATH=str(tmp_path / "other"), **home)
        assert done.stdout == f"['PYTHONNOUSERSITE'] {tmp_path / 'a project' / '.home'}\n", done.stderr


def test_run_takes_a_python_that_starts(tmp_path: Path) -> None:
    """A shim that cannot start, first in the path, is passed over; one that was asked for is not."""
    broken = tmp_path / "bin" / "python3.11"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    (tmp_path / "bin" / "python3").symlink_to(sys._base_executable)
    path = f"{broken.parent}:/usr/bin:/bin"
    assert run(["true"], tmp_path / "project", PATH=path).returncode == 0
    done = run(["true"], tmp_path / "project", PATH=path, PYTHON=str(broken))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"error: {broken} is not Python 3.11" in done.stderr


def test_licence_and_citation_agree_with_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what CFF 1.2 requires
    assert all(author.get("name") or author.get("family-names") for author in citation["authors"])
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert (ROOT / "LICENSE").read_text().startswith(f"{project['license']} License\n")
