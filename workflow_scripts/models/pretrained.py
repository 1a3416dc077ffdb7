"""Published weights put into our networks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from workflow_scripts.errors import UserError

M = TypeVar("M", bound=nn.Module)
WRAPPERS = ("model", "model_state", "state_dict")  # under which published files keep the weights


def pretrained(build: Callable[[], M], path: Path) -> M:
    """The network that `build` makes, with the state dict in a .pth file as its weights, in eval mode.

    Only tensors are read from the file, never objects. Another file, or the weights of another network, is a
    `UserError`.
    """
    state = read_weights(path)
    with torch.device("meta"):  # no time is lost on initial values
        model = build()
    expected = {key: tensor.shape for key, tensor in model.state_dict().items()}
    found = {key: tensor.shape for key, tensor in state.items()}
    if different := sorted(set(expected.items()) ^ set(found.items())):
        raise UserError(f"{path}: weights of another network than {type(model).__name__}; '{different[0][0]}' differs")
    model.load_state_dict(state, assign=True)
    return model.eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or PyTorch file by key; nothing but tensors is ever unpickled."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - readers of broken files raise anything
        raise UserError(f"{path}: not a file of PyTorch weights; fetch it again ({type(error).__name__})") from None
    for wrapper in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no state dict of a network")
    return state


def put(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Gives a network the weights read from `path`; a `UserError` names the first key that differs."""
    expected = {key: tensor.shape for key, tensor in model.state_dict().items() if not counter(key)}
    found = {key: tensor.shape for key, tensor in state.items() if not counter(key)}
    if different := sorted(set(expected.items()) ^ set(found.items())):
        raise UserError(f"{path}: weights of another network than {type(model).__name__}; '{different[0][0]}' differs")
    model.load_state_dict(state, strict=False)


def counter(key: str) -> bool:
    """Whether a key counts the batches a batch norm has seen, which old files do not hold."""
    return key.endswith("num_batches_tracked")
