"""The environment's definitions: one set of pins, and no trace of the machine that made them."""

import re
import subprocess
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
    lines = (ROOT / "envs" / "requirements.in").read_text().splitlines()
    named = {normal(re.split(r"[=<>]", line)[0]) for line in lines if line and not line.startswith("#")}
    assert named - {normal(pin.split("==")[0]) for pin in pins()} == set()


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
