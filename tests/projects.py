"""Runs Snakemake in a copy of the project, at the smoke scale."""

import os
import subprocess
import sys
from pathlib import Path


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
