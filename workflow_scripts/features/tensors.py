"""Features that are the items of a corpus's tensors."""

from pathlib import Path

import numpy as np

from workflow_scripts.corpora.readers.digit_pairs import place, tensor
from workflow_scripts.errors import UserError
from workflow_scripts.features.interface import Lookup


def items(files: dict[str, Path], kind: str, shape: tuple[int, ...]) -> Lookup:
    """The function from clip ids to float32 (clips, *shape): the items of `training_<kind>` and `test_<kind>`.

    Raises `UserError` when the items of a file have another shape.
    """
    parts = {part: tensor(files[f"{part}_{kind}"]) for part in ("training", "test")}
    for part, found in parts.items():
        if tuple(found.shape[1:]) != shape:
            path = files[f"{part}_{kind}"]
            raise UserError(f"{path}: holds items of shape {tuple(found.shape[1:])}, and {shape} is expected")

    def lookup(names: list[str]) -> np.ndarray:
        places = [place(name) for name in names]
        return np.stack([parts[part][index].float().numpy() for part, index in places])

    return lookup
