"""Checkpoints of runs that may be killed at any moment."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch

from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import digest
from workflow_scripts.shards import atomic
from workflow_scripts.training.job import TrainingJob

State = dict[str, Any]  # tensors, numbers, text, lists and mappings of them


def checkpoint_path(job: TrainingJob, seed: int, learned_from: Any, network: torch.nn.Module) -> Path:
    """Where a run's checkpoint lies: the name is a hash of all that defines the run, its first weights included."""
    defined_by = {**job.identity(), "seeds": [seed], "data": learned_from, "weights": weights_digest(network)}
    return job.checkpoints / f"{digest(defined_by)}.pt"


def weights_digest(network: torch.nn.Module) -> str:
    """A hash of a network's weights."""
    total = hashlib.blake2b(digest_size=16)
    for name, values in network.state_dict().items():
        total.update(name.encode())
        total.update(values.cpu().numpy().data)
    return total.hexdigest()


def save(path: Path, state: State) -> None:
    """Writes a state so that `path` holds either the old or the whole new one."""
    with atomic(path) as temporary:
        torch.save(state, temporary)


def load(path: Path, device: torch.device) -> State | None:
    """The state at `path`, or None when there is none; a file that is no state raises `UserError`."""
    if not path.exists():
        return None
    try:
        state: State = torch.load(path, map_location=device, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{path}: not a readable checkpoint ({error}); delete it to train this run anew") from None
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
