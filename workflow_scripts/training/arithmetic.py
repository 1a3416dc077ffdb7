"""Number formats of training, and losses that are none."""

import math
from collections.abc import Callable

import torch

from workflow_scripts.errors import UserError


def autocast(device: torch.device, precision: str) -> Callable[[], torch.autocast]:
    """Makes contexts in which a forward pass runs in the given precision."""
    dtype = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}[precision]
    return lambda: torch.autocast(device.type, dtype, enabled=dtype is not None)


def refuse_infinite(loss: float, where: str, rate: str) -> None:
    """Raises `UserError` for a loss that is not a number or infinite; `rate` names the setting to lower."""
    if not math.isfinite(loss):
        raise UserError(f"{where}: the loss is {loss}; lower '{rate}' or check the features")
