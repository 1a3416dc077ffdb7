"""Trains the seeds of one experiment and writes their predictions, history, weights and parameters.

    python -m workflow_scripts.training.train job.json work/my-run

`job.json` holds a `TrainingJob`; a small one, of what a mini run has left:

    {"system": "unigram", "settings": {"text": {"field": "title"}}, "seeds": [0], "clip_seconds": 300,
     "manifest": "work/mini/corpora/youtube8m/manifest.parquet", "checkpoints": "work/checkpoints",
     "features": {"words": ["work/mini/features/yt8m_text/words/0.parquet"]}}

SIGTERM and SIGUSR1 end it with exit code 75, after a checkpoint; the same command goes on.
"""

import gc
import importlib
import os
from pathlib import Path
from typing import Annotated

import typer

from workflow_scripts.devices import Device, prepared
from workflow_scripts.errors import UserError, run
from workflow_scripts.files import read_json
from workflow_scripts.settings.plugins import SYSTEMS
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.stopping import leave_on_signal


def train(job: TrainingJob, folder: Path) -> None:
    """Fits every seed, which goes on from its checkpoint where it has one, and writes the four result files."""
    if os.environ.get("WORLD_SIZE", "1") != "1" and not job.settings.parallel:
        raise UserError(f"{job.system}: trains in one process only; give it one GPU or none, and no launcher")
    gc.disable()  # nothing that is imported is waste, for which Python would look many times meanwhile
    try:
        device = prepare_torch(job)
        from workflow_scripts.training import processes
        from workflow_scripts.training.outputs import forget_growing, write_results

        system = importlib.import_module(f"{SYSTEMS}.{job.system}.run")
    finally:
        gc.enable()

    known = {"device": device, "processes": int(os.environ.get("WORLD_SIZE", "1")), "folder": folder}
    job = job.model_copy(update=known)
    with processes.joined(device):
        if processes.rank() == 0:
            forget_growing(folder)  # of runs that were defined otherwise
        fitting = system.Fitting(job)
        fits = [fitting.fit(seed) for seed in job.seeds]
        if processes.dissolve():
            write_results(folder, job, fits)
            forget_growing(folder)


def prepare_torch(job: TrainingJob) -> Device:
    """Fixes threads, precision and determinism; returns the device to train on, which is no longer `auto`."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA's matrix products are deterministic only with it
    if (
        job.precision == "bf16-mixed"
    ):  # on CPUs oneDNN's AMX kernels let uninitialised memory into sums (its issue 5717)
        os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    device = prepared(job.device, job.threads, job.matmul_precision)
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    # To fill every new tensor takes a twelfth of a small step's time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a module's property
    return device


def main(
    job: Annotated[Path, typer.Argument(help="A TrainingJob as JSON.")],
    output_dir: Annotated[Path, typer.Argument(help="Where the results go.")],
) -> None:
    """Trains the seeds of a job."""
    train(TrainingJob.check(read_json(job), str(job)), output_dir)


def command() -> None:
    """The command line, from which a signal may take it at any moment."""
    leave_on_signal()
    typer.run(main)


if __name__ == "__main__":
    run(command)
