"""Trains the seeds of one experiment with a training system and writes predictions, history, weights and parameters."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.settings.base import from_argument, pairs
from workflow_scripts.settings.plugins import SYSTEMS, plugin
from workflow_scripts.training.data import Inputs
from workflow_scripts.training.outputs import write_params
from workflow_scripts.training.stopping import leave_on_signal


class Precision(StrEnum):
    """Number formats of a training run."""

    SINGLE = "32-true"
    BFLOAT = "bf16-mixed"
    HALF = "16-mixed"


class Device(StrEnum):
    """Where to train; `auto` takes a GPU where there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


def feature_shards(pairs: list[str]) -> dict[str, list[Path]]:
    """`stream=folder` or `stream=glob` to the sorted shards of every stream."""
    streams: dict[str, list[Path]] = {}
    for pair in pairs:
        name, _, place = pair.partition("=")
        if not (name and place):
            raise UserError(f"--features {pair}: expected stream=folder")
        folder = Path(place)
        files = sorted(folder.glob("*.parquet") if folder.is_dir() else folder.parent.glob(folder.name))
        if not files:
            raise UserError(f"--features {pair}: no Parquet file there; make the features first")
        streams.setdefault(name, []).extend(files)
    return streams


def seed_list(text: str) -> list[int]:
    """`0,1,2` to numbers, each once."""
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: expected whole numbers with commas between") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f"--seeds {text}: every seed may stand once, and none may be negative")
    return seeds


def main(
    *,
    system: Annotated[str, typer.Option(help="A module of workflow_scripts/training/systems.")],
    definition: Annotated[str, typer.Option(help="The system's settings as JSON, or @file.json.")],
    manifest: Annotated[Path, typer.Option(help="The corpus: one row per clip.")],
    seeds: Annotated[str, typer.Option(help="Seeds with commas between.")],
    clip_seconds: Annotated[float, typer.Option(help="The seconds that every clip's features span.")],
    output_dir: Annotated[Path, typer.Option(help="Where the results go.")],
    checkpoint_dir: Annotated[Path, typer.Option(help="Where killed runs leave what they need to go on.")],
    features: Annotated[list[str] | None, typer.Option(help="stream=folder of shards, repeated.")] = None,
    reduction: Annotated[list[str] | None, typer.Option(help="name=file computed from a whole feature.")] = None,
    uses: Annotated[list[str] | None, typer.Option(help="role=training folder of another experiment.")] = None,
    asset: Annotated[list[str] | None, typer.Option(help="id=path of a file that the system needs.")] = None,
    device: Annotated[Device, typer.Option(help="Where to train.")] = Device.AUTO,
    precision: Annotated[Precision, typer.Option(help="Number format.")] = Precision.SINGLE,
    threads: Annotated[int, typer.Option(help="CPU threads; results may differ in rounding between counts.")] = 1,
) -> None:
    """Trains every seed (going on from its checkpoint where one is) and writes the four result files.

    SIGTERM and SIGUSR1 end it with exit code 75, after a checkpoint; the same command goes on.
    """
    settings = plugin(SYSTEMS, system, "--system").check(from_argument(definition), "--definition")
    if os.environ.get("WORLD_SIZE", "1") != "1" and not getattr(settings, "parallel", False):
        raise UserError(f"--system {system}: trains in one process only; give it one GPU or none, and no launcher")
    numbers = seed_list(seeds)
    inputs = Inputs(
        manifest,
        feature_shards(features or []),
        clip_seconds,
        {name: Path(path) for name, path in pairs(reduction, "reduction").items()},
        {role: Path(path) for role, path in pairs(uses, "uses").items()},
        {name: Path(path) for name, path in pairs(asset, "asset").items()},
    )
    place = prepare_torch(device, precision, threads)
    from workflow_scripts.training import processes

    output_dir.mkdir(parents=True, exist_ok=True)
    with processes.joined(place):
        first, count = processes.rank() == 0, processes.count()
        facts = settings.train(
            inputs, numbers, output_dir, checkpoints=checkpoint_dir, device=place, precision=precision.value
        )
    if first:
        means = {"device": place, "processes": count, "precision": precision.value, "threads": threads}
        run_facts = {"system": system, "definition": settings.model_dump(mode="json"), "seeds": numbers}
        write_params(output_dir / "params.json", {**run_facts, **means, **facts})


def prepare_torch(device: Device, precision: Precision, threads: int) -> str:
    """Fixes threads and determinism; returns the name of the device to train on."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA's matrix products are deterministic only with it
    if (
        precision is Precision.BFLOAT
    ):  # on CPUs oneDNN's AMX kernels let uninitialised memory into sums (its issue 5717)
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    import torch

    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    cuda = torch.cuda.is_available()
    if device is Device.CUDA and not cuda:
        raise UserError("--device cuda: there is no usable GPU; choose cpu or auto")
    return "cuda" if cuda and device is not Device.CPU else "cpu"


def command() -> None:
    """The command line, from which a signal may take it at any moment."""
    leave_on_signal()
    typer.run(main)


if __name__ == "__main__":
    run(command)
