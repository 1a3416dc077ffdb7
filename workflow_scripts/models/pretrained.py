"""Published weights put into our networks."""

import itertools
import pickletools
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # what Python 2 called things, as such files do
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from workflow_scripts.errors import UserError

M = TypeVar("M", bound=nn.Module)
WRAPPERS = ("model", "model_state", "state_dict")  # under which published files keep the weights
# Types of what training code saves beside weights: options, scores, paths, times. Nothing of them is made, see `Left`.
LEFT = re.compile(
    r"argparse\.Namespace|omegaconf\.[\w.]+|typing\.Any|types\.SimpleNamespace|pathlib\.\w*Path|datetime\.\w+"
    r"|numpy\.(_?core\.multiarray\.scalar|dtype|dtypes\.\w+)|builtins\.(dict|list|tuple|int|float|str|bool|bytes)"
)
LEFT_MAPPINGS = re.compile(r"yacs\.config\.CfgNode|collections\.defaultdict|easydict\.EasyDict|addict\.addict\.Dict")
BEFORE_ZIP = 4  # pickles of which a file before PyTorch 1.6 begins: a number, a version, a machine, what was saved


class Left:
    """Stands where a file has an object that is no weight, of whatever type: it takes everything and does nothing."""

    def __new__(cls, *_: Any) -> Any:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


class LeftMapping:
    """The same where such an object is filled like a dictionary, key by key."""

    def __new__(cls, *_: Any) -> Any:
        return OrderedDict[str, Any]()


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
    """The tensors of a .safetensors or PyTorch file by key; nothing but tensors is ever unpickled.

    Options, scores and the like beside them are passed over. A file with other objects is a `UserError` that names
    their types.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = unpickled(path)
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 - readers of broken files raise anything
        raise UserError(f"{path}: not a file of PyTorch weights; fetch it again ({type(error).__name__})") from None
    for wrapper in WRAPPERS:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: holds no state dict of a network")
    return state


def unpickled(path: Path) -> Any:
    """What a PyTorch file holds, with `Left` in the place of the objects that are known not to be weights."""
    asked = types_in(path)
    left: list[Any] = [(LeftMapping, name) for name in asked if LEFT_MAPPINGS.fullmatch(name)]
    left += [(Left, name) for name in asked if LEFT.fullmatch(name)]
    with torch.serialization.safe_globals(left):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except UnpicklingError as error:
            named = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", str(error))
            if named is None:
                raise
            others = sorted(types_in(path)) if zipfile.is_zipfile(path) else [named[1]]
            raise UserError(
                f"{path}: not a file of PyTorch weights alone: it holds objects of {', '.join(others)}, and to make "
                "them could run any program. If you trust it, save its tensors alone, where the code is installed that "
                f"wrote it: torch.save(torch.load('{path.name}', weights_only=False)['model'], 'weights.pth'), with "
                "the file's own key, and write file:weights.pth as the asset's location into assets.yaml"
            ) from None


def types_in(path: Path) -> set[str]:
    """The names of the types and functions that a PyTorch file asks for, but those that PyTorch allows; none is run.

    Of a file before PyTorch 1.6 also those that it allows.
    """
    if zipfile.is_zipfile(path):
        return set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    with path.open("rb") as file:
        operations = itertools.chain.from_iterable(pickletools.genops(file) for _ in range(BEFORE_ZIP))
        names = [str(argument).split(" ", 1) for operation, argument, _ in operations if operation.name == "GLOBAL"]
    new = [NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name)) for module, name in names]
    return {f"{module}.{name}" for module, name in new}


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
