"""Several processes that train one network together, each with a part of every batch; without any, there is one.

Every process makes the same batches and keeps the same network. The first one evaluates, saves and writes for all.
Small numbers travel by gloo, gradients on GPUs by NCCL. The environment tells a process its place among the others:
`RANK`, `LOCAL_RANK`, `WORLD_SIZE`, `MASTER_ADDR` and `MASTER_PORT`, which `training.launch` sets, or torchrun.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed
from torch.distributed.rendezvous import rendezvous

from workflow_scripts.errors import UserError

T = TypeVar("T")
PATIENCE = timedelta(hours=3)  # for the first process, which evaluates alone


@contextlib.contextmanager
def joined(device: str) -> Iterator[None]:
    """Inside, this process works with the others, if there are any; on CUDA with a GPU of its own."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield
        return
    backend = "gloo"
    if device == "cuda":
        gpu = int(os.environ["LOCAL_RANK"])
        if gpu >= torch.cuda.device_count():
            raise UserError(f"processes: each needs a GPU, and this node has {torch.cuda.device_count()}")
        torch.cuda.set_device(gpu)
        backend = "cpu:gloo,cuda:nccl"
    with reaching():
        store, place, processes = next(rendezvous("env://"))
        distributed.init_process_group(backend, store=store, rank=place, world_size=processes, timeout=PATIENCE)
    yield  # a process that fails ends without a goodbye, for which it would wait for the others
    dissolve()


def dissolve() -> bool:
    """Ends what is done together: true in the first process, which goes on alone, false in those that are done."""
    first = rank() == 0
    if distributed.is_initialized():
        distributed.destroy_process_group()
    return first


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


@contextlib.contextmanager
def reaching() -> Iterator[None]:
    """Inside, the loss of another process is an error in one sentence."""
    try:
        yield
    except RuntimeError as error:
        raise UserError(f"another process of this training failed or is out of reach: {error}") from None


def all_reduce(values: torch.Tensor, how: distributed.ReduceOp.RedOpType = distributed.ReduceOp.SUM) -> torch.Tensor:
    """The sum, or another reduction, of the tensors of all processes."""
    if count() > 1:
        values = values.clone()
        with reaching():
            distributed.all_reduce(values, how)
    return values


def largest(value: int) -> int:
    """The largest of the processes' numbers."""
    return int(all_reduce(torch.tensor(value), distributed.ReduceOp.MAX))


def totals(values: list[float]) -> list[float]:
    """The sums of the processes' numbers."""
    return all_reduce(torch.tensor(values, dtype=torch.float64)).tolist()


def gathered(value: T) -> list[T]:
    """What each process gives, in the order of their numbers: tensors, numbers, and collections of them."""
    if count() == 1:
        return [value]
    values: list[T] = [value] * count()
    with reaching():
        distributed.all_gather_object(values, value)
    return values


def from_first(value: T | None) -> T:
    """What the first process gives."""
    values: list[Any] = [value]
    if count() > 1:
        with reaching():
            distributed.broadcast_object_list(values, device=torch.device("cpu"))
    return values[0]


@dataclass(frozen=True)
class Share:
    """The clips `start` to `stop` of a batch, which are this process's; what an `idle` one learns does not count."""

    start: int
    stop: int
    idle: bool


def share(clips: int) -> Share:
    """Cuts a batch in nearly equal parts of two clips or more, which batch normalisation needs.

    In a batch that is too small for all processes some are idle, and only repeat what the first one does.
    """
    busy = max(1, min(count(), clips // 2))
    part = rank() if rank() < busy else 0
    return Share(clips * part // busy, clips * (part + 1) // busy, idle=rank() >= busy)


def seed_apart(seed: int, *where: int) -> None:
    """Gives every process but the first random numbers of its own, which depend on the seed and on `where`."""
    if rank() or where:
        torch.manual_seed(int(np.random.SeedSequence([seed, rank(), *where]).generate_state(1, np.uint64)[0] >> 1))
