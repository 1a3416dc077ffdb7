"""Multiply-accumulate operations of a network, counted on shapes alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

WEIGHTED = {torch.ops.aten.convolution, torch.ops.aten.addmm, torch.ops.aten.mm}  # operations with weights


class Macs(NamedTuple):
    """Multiply-accumulate operations for one input: those of convolutions and linear layers, and all.

    The difference is the products of two activations, such as queries and keys. Counters that hang on modules leave
    them out.
    """

    layers: int
    total: int


def macs(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> Macs:
    """Those of the network that `build` makes, in eval mode, for one input of `shape` (without the batch)."""
    return of_call(lambda: build().eval()(torch.empty(1, *shape)))


def of_call(call: Callable[[], Any], device: str = "meta") -> Macs:
    """Those of what a function does, on the meta device if nothing looks at values."""
    with torch.device(device), torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    flops = counter.get_flop_counts()["Global"]
    return Macs(sum(n for operation, n in flops.items() if operation in WEIGHTED) // 2, sum(flops.values()) // 2)
