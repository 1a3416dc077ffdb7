"""Published weights put into our networks."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from workflow_scripts.errors import UserError

M = TypeVar("M", bound=nn.Module)


def pretrained(build: Callable[[], M], path: Path) -> M:
    """The network that `build` makes, with the state dict in a .pth file as its weights, in eval mode.

    Only tensors are read from the file, never objects. Another file, or the weights of another network, is a
    `UserError`.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"{path}: not a file of PyTorch weights; fetch it again ({type(error).__name__})") from None
    with torch.device("meta"):  # no time is lost on initial values
        model = build()
    expected = {key: tensor.shape for key, tensor in model.state_dict().items()}
    found = {key: tensor.shape for key, tensor in state.items()} if isinstance(state, dict) else {}
    if different := sorted(set(expected.items()) ^ set(found.items())):
        raise UserError(f"{path}: weights of another network than {type(model).__name__}; '{different[0][0]}' differs")
    model.load_state_dict(state, assign=True)
    return model.eval()
