"""The environment's definitions: one set of pins, no trace of the machine that made them, and all that is imported."""

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import torch
import yaml

ROOT = Path(__file__).parent.parent


def pins(lock: str = "requirements") -> list[str]:
    lines = (ROOT / "envs" / f"{lock}.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


@pytest.mark.parametrize("lock", ["requirements", "development"])
def test_every_dependency_is_pinned(lock: str) -> None:
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[^\s;]+( *;.*)?", pin) for pin in pins(lock))
    assert declared(lock).keys() - {normal(pin.split("==")[0]) for pin in pins(lock)} == set()


def test_the_two_locks_agree() -> None:
    runs, develops = (dict(pin.split("==") for pin in pins(lock)) for lock in ("requirements", "development"))
    assert {name for name in runs.keys() & develops.keys() if runs[name] != develops[name]} == set()


def declared(lock: str) -> dict[str, str]:
    """What the file behind a lock names, with the reason that stands behind it, if any."""
    lines = (ROOT / "envs" / f"{lock}.in").read_text().splitlines()
    parts = [line.partition("#") for line in lines if line and not line.startswith(("#", "-"))]
    return {normal(re.split(r"[=<>[]", name)[0].strip()): reason for name, _, reason in parts}


def imported(*folders: str) -> set[str]:
    """The packages of others that the code in folders imports, by their names in registries; rules count as well."""
    modules = {"snakemake"}  # the rules' own language
    for folder in folders:
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
    runs, develops = declared("requirements"), declared("development")
    found = imported("workflow_scripts", "composed")
    everything = imported("workflow_scripts", "composed", "benchmarks", "tests")
    assert found - runs.keys() == set()
    assert everything - runs.keys() - develops.keys() == set()
    assert [name for name, reason in (runs | develops).items() if name not in everything and not reason] == []
    assert runs.keys() & develops.keys() == set()


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
    wanted = dict(pin.split(";")[0].strip().split("==") for pin in pins() + pins("development"))
    if torch.version.cuda is None:  # as without_cuda.txt of ./run has it
        wanted = {name: version for name, version in wanted.items() if not re.match("nvidia-|cuda-|triton$", name)}
    assert {name: metadata.version(name).partition("+")[0] for name in wanted} == wanted


def test_run_asks_for_a_command() -> None:
    done = subprocess.run([str(ROOT / "run")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "./run snakemake --cores all results/table3.csv" in done.stderr


def copy(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`./run` of a project in a folder, whose environment counts as made, from a shell without a home."""
    copy(folder, "run", "envs/requirements.txt")
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
        theirs = {"PYTHONPATH": str(tmp_path / "other"), "PYTHONWARNINGS": "error", "PYTHONUTF8": "0", "LC_ALL": "C"}
        done = run(["python", "-c", code], tmp_path / "a project", **theirs, **home)
        assert done.stdout == f"['PYTHONNOUSERSITE', 'PYTHONUTF8'] {tmp_path / 'a project' / '.home'}\n", done.stderr


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


def wheel(folder: Path, name: str, version: str, code: str, entry: str = "") -> None:
    """A package of one module, as pip installs it."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry,
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


def test_run_installs_a_torch_without_cuda_and_tools_when_they_are_called(tmp_path: Path) -> None:
    project, wheels = tmp_path / "project", tmp_path / "my wheels"
    copy(project, "run", "envs/relocatable.py")
    wheels.mkdir()
    lock = project / "envs" / "requirements.txt"
    lock.write_text("torch==2.14.1\nnvidia-cublas==13.1\ntriton==3.8.0\n    # via torch\n")
    (project / "envs" / "development.txt").write_text("ruff==1.0\n")
    wheel(wheels, "torch", "2.14.1", "build = 'with CUDA'")
    wheel(wheels, "torch", "2.14.1+cpu", "build = 'without'")
    wheel(wheels, "ruff", "1.0", "def main(): print('checked')", "[console_scripts]\nruff = ruff:main\n")
    shell = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1"}

    def called(*command: str, **given: str) -> str:
        run = [project / "run", *command]
        return subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True, env=shell | given).stdout

    build = ("python", "-c", "import torch; print(torch.build)")
    assert called(*build, TORCH_WHEELS="my wheels") == "without\n"  # a folder, from where the command is given
    assert not (project / ".venv" / "bin" / "ruff").exists()
    assert called("ruff") == "checked\n"
    wheel(wheels, "torch", "2.15.0+cpu", "build = 'a newer one without'")
    lock.write_text("torch==2.15.0\nnvidia-cublas==13.1\n")
    assert called(*build) == "a newer one without\n"


def test_licence_and_citation_agree_with_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what CFF 1.2 requires
    assert all(author.get("name") or author.get("family-names") for author in citation["authors"])
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert (ROOT / "LICENSE").read_text().startswith(f"{project['license']} License\n")
