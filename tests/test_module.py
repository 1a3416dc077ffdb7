"""Another workflow has this one as a module, and asks for its tables."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_rules_of_a_module_are_planned_from_another_folder(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "extending.md").read_text()
    workflow = page.partition("```snakemake\n")[2].partition("```")[0]
    assert '"encore/Snakefile"' in workflow
    (tmp_path / "Snakefile").write_text(workflow.replace('"encore/Snakefile"', repr(str(ROOT / "Snakefile"))))
    call = [sys.executable, "-m", "snakemake", "-n", "--config", "scale=smoke"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    planned = dict(line.split() for line in done.stdout.splitlines() if len(line.split()) == 2)
    assert planned["summarise"] == planned["make_table"] == "1" and int(planned["train"]) > 1
