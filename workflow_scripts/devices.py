"""Where a job computes: it prepares PyTorch, and takes GPUs of this machine that no other job has."""

import contextlib
import fcntl
import functools
import logging
import os
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Literal

from workflow_scripts.errors import UserError

Device = Literal["auto", "cpu", "cuda"]
MatmulPrecision = Literal["highest", "high"]

log = logging.getLogger(__name__)


def prepared(
    device: Device, threads: int, matmul_precision: MatmulPrecision = "highest", gpu_mb: int | None = None
) -> Literal["cpu", "cuda"]:
    """Sets PyTorch's threads and the precision of its products; gives the device, with a GPU of its own if it is one.

    A GPU with less than `gpu_mb` MB is a `UserError`. To be called before anything else looks for GPUs.
    """
    if device != "cpu":
        take(1)
    import torch

    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(matmul_precision)
    torch.backends.cudnn.allow_tf32 = matmul_precision == "high"  # PyTorch's own default is yes
    cuda = device != "cpu" and torch.cuda.is_available()
    if device == "cuda" and not cuda:
        raise UserError("device cuda: there is no usable GPU; choose cpu or auto")
    if cuda and gpu_mb and (has := torch.cuda.get_device_properties(0).total_memory / 1e6) < gpu_mb:
        raise UserError(
            f"the GPU has {has:.0f} MB, and the job needs {gpu_mb} (`gpu_mb` of its `cost`): give it another GPU, by "
            "CUDA_VISIBLE_DEVICES or the partition of a cluster, or choose device: cpu"
        )
    return "cuda" if cuda else "cpu"


@functools.cache
def take(count: int) -> None:
    """Makes only so many GPUs visible to this process, which no other job of this user has until this process ends.

    Where all are taken it waits. Inside SLURM's jobs, which are given GPUs of their own, in one of several processes,
    whose launcher has taken them, and where there is no `nvidia-smi`, nothing is chosen.
    """
    if "SLURM_JOB_ID" in os.environ or os.environ.get("WORLD_SIZE", "1") != "1" or not (gpus := visible()):
        return
    if len(gpus) < count:
        raise UserError(f"{count} GPUs are asked for, and this machine has {len(gpus)}: lower the 'gpus' of the 'cost'")
    folder = own_folder(Path(tempfile.gettempdir()) / f"encore-gpus-{os.getuid()}")
    told = False
    while len(locks := free(folder, gpus, count)) < count:
        for lock in locks.values():
            os.close(lock)
        if not told:
            log.info("other jobs have the GPUs of this machine: waiting (snakemake --resources gpu=%d)", len(gpus))
            told = True
        time.sleep(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(locks)


def own_folder(folder: Path) -> Path:
    """A folder in a place that others write to, too, made this user's alone; one of others is a `UserError`."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UserError(f"{folder}: must be a folder, and yours: remove what is there, or set TMPDIR to another folder")
    folder.chmod(0o700)
    return folder


def visible() -> list[str]:
    """The names of the GPUs of this machine, of those in CUDA_VISIBLE_DEVICES if it is set; none without a driver."""
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is None:
        return found
    names = [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    return [found[int(name)] if name.isdecimal() and int(name) < len(found) else name for name in names]


def free(folder: Path, gpus: list[str], count: int) -> dict[str, int]:
    """Locks at most so many GPUs that nobody has locked: their names, and the open files that hold the locks."""
    locks: dict[str, int] = {}
    for name in gpus:
        if len(locks) < count:
            file = os.open(folder / f"{name}.lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locks[name] = file
            except BlockingIOError:
                os.close(file)
    return locks
