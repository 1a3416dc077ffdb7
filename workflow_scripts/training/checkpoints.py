"""Checkpoints of runs that may be killed at any moment."""

import hashlib
import logging
import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import digest
from workflow_scripts.shards import atomic
from workflow_scripts.training.job import TrainingJob

log = logging.getLogger(__name__)

State = dict[str, Any]  # tensors, numbers, text, lists and mappings of them
RUN = "run"  # under which a file keeps the hash of what defines its run, which is its name too


def checkpoint_path(job: TrainingJob, seed: int, learned_from: Any, network: torch.nn.Module) -> Path:
    """Where a run's checkpoint lies: the name is a hash of all that defines the run, its first weights included."""
    defined_by = {**job.identity(), "seeds": [seed], "data": learned_from, "weights": weights_digest(network)}
    return job.checkpoints / f"{digest(defined_by)}.pt"


def weights_digest(network: torch.nn.Module) -> str:
    """A hash of a network's weights."""
    total = hashlib.blake2b(digest_size=16)
    for name, values in network.state_dict().items():
        total.update(name.encode())
        total.update(values.contiguous().cpu().numpy().data)
    return total.hexdigest()


def save(path: Path, state: State) -> None:
    """Writes a state so that `path` holds either the old or the whole new one; the old one stays as `previous`."""
    with atomic(path) as temporary:
        torch.save({**state, RUN: path.stem}, temporary)
        if path.exists():
            path.replace(previous(path))


def previous(path: Path) -> Path:
    """Where the checkpoint before the newest lies."""
    return path.with_suffix(".previous")


def load(path: Path, device: torch.device, keys: Iterable[str] = ()) -> State | None:
    """The newest state with all `keys` at `path`, or None when there is none.

    A damaged one is passed over for the one before, with a sentence. If none is whole, a `UserError` says so.
    """
    found = [candidate for candidate in (path, previous(path)) if candidate.exists()]
    faults = []
    for candidate in found:
        try:
            state = read(candidate, device, keys)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
            reason = str(error).partition("\n")[0]
            faults.append(f"{candidate}: not a readable checkpoint ({reason})")
        else:
            for fault in faults:
                log.info("%s; going on from the one before", fault)
            return state
    if faults:
        raise UserError(f"{'; '.join(faults)}; delete it to train this run anew")
    return None


def read(path: Path, device: torch.device, keys: Iterable[str]) -> State:
    """The state in a file, whose checksums hold; any other file raises an error."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise ValueError(f"'{damaged}' is damaged")
    state = torch.load(path, map_location=device, weights_only=True)
    if not isinstance(state, dict) or (lacking := sorted(set(keys) - state.keys())):
        raise ValueError(f"it lacks '{lacking[0]}'" if isinstance(state, dict) else "it is no mapping")
    if (run := state.pop(RUN, path.stem)) != path.stem:  # older files do not tell
        raise ValueError(f"it is that of another run, {run}")
    return state


def random_state(device: torch.device) -> State:
    """The state of the random numbers that training on a device draws."""
    state = {"cpu": torch.get_rng_state()}
    return state | {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else state


def restore_random_state(state: State, device: torch.device) -> None:
    """Sets the random numbers back; a device that the state does not know keeps its own."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
