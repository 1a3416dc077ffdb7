"""Speed and memory of every stage beside what a user would pick, and beside the limit, in one run.

python -m benchmarks [--only STAGE] [--size 1] [--repeats 7] [--growth] [--gpu]
"""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks import gpu, harness, report
from benchmarks.stage import module, stages
from workflow_scripts.errors import UserError, did_you_mean, run

DOCS = Path(__file__).parent.parent / "docs"


def main(
    only: Annotated[
        list[str] | None, typer.Option(help=f"only this stage; may be repeated. Known: {', '.join(stages())}")
    ] = None,
    size: Annotated[float, typer.Option(min=0, help="how much of each stage's inputs: 0.1 is a tenth")] = 1.0,
    repeats: Annotated[int, typer.Option(min=1, help="times that each contender works; the median counts")] = 7,
    output: Annotated[
        Path | None,
        typer.Option(help="folder for benchmarks.md, .json and .png; docs for all stages at --size 1, else none"),
    ] = None,
    growth: Annotated[
        bool,
        typer.Option("--growth", help="also ours alone on a quarter of the inputs, on all, and on four times as many"),
    ] = False,
    gpu_part: Annotated[
        bool, typer.Option("--gpu", help="also the full-size networks on a GPU: steps a second and memory")
    ] = False,
) -> None:
    """Measures every stage: ours, the libraries that a user would pick, and the limit, on the same inputs.

    Each contender has a process of its own, on one thread; they work in turn, so that a busy moment of the machine
    meets all. Rates are of CPU time, programs that are started included. A peer that is not installed is told as such,
    and so is one whose results are not ours. Ends with exit code 1 if one of these differs, or fails.
    """
    known = stages()
    for name in only or []:
        if name not in known:
            raise UserError(f"--only: there is no stage '{name}'{did_you_mean(name, known)}")
    whole = only is None and size == 1
    found = report.begun(size, repeats)
    for name in [name for name in known if only is None or name in only]:
        typer.echo(f"measuring {name}", err=True)
        found.stages[name] = harness.measure(module(name), size, repeats)
        if growth and known[name].size > 1:  # of a single one there is no part
            found.growth[name] = harness.grown(module(name), size, repeats)
    if gpu_part:
        found.gpu = gpu.measure(lambda name: typer.echo(f"measuring {name}", err=True)) if gpu.there() else []
    typer.echo(report.tables(found))
    if folder := output or (DOCS if whole else None):
        report.write(found, folder)
    rows_of = [*found.stages.items(), *found.growth.items()]
    if faults := [f"{name}, {fault}" for name, rows in rows_of for fault in harness.faults(rows)]:
        raise UserError("; ".join(faults))


if __name__ == "__main__":
    run(lambda: typer.run(main))
