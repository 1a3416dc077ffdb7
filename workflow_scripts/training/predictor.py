"""A trained network as it predicts, apart from what it has learned from."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import pyarrow as pa
import torch
from torch import Tensor, nn

from workflow_scripts.errors import UserError
from workflow_scripts.shards import Row
from workflow_scripts.training.stream import Block


class Trained(NamedTuple):
    """What is left of a finished seed: all that a `Predictor` is made from, without any training clip."""

    system: Any  # the settings
    seed: int
    weights: Mapping[str, Tensor]
    kept: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, int]]  # (frames, dimensions) of the features, by name
    clip_seconds: float
    precision: str
    assets: Mapping[str, Path]
    device: torch.device
    reductions: Mapping[str, Path] = {}
    used: Mapping[str, "Trained"] = {}  # what it reads of other experiments, by role

    def known(self, name: str) -> Any:
        """Something that training has kept."""
        if name not in self.kept:
            raise UserError(
                f"its weights do not tell the '{name}' that predicting needs: they were written before `predict` was "
                "there; delete the folder and run the same command again, which goes on from the checkpoints"
            )
        return self.kept[name]


class Predictor(ABC):
    """A trained network as it predicts; the last step of training and `predict` share it.

    The `predictor.py` in a system's folder exposes it as `Predictor`.
    """

    gives: ClassVar[str]  # what its answers are, for people
    of_members: ClassVar[bool] = False  # whether its blocks hold what the experiments that it uses predict
    texts: Sequence[str] = ()  # columns of words that it reads of texts, lists in its blocks
    required: Sequence[str] = ()  # those of which a clip must have a word
    schema: pa.Schema  # of the predictions, one of training/outputs.py

    @classmethod
    @abstractmethod
    def of(cls, trained: Trained) -> Self:
        """From what is left of a seed; settings that cannot predict without the training clips are a `UserError`."""

    @abstractmethod
    def rows(self, blocks: Iterable[Block]) -> Iterator[Row]:
        """The row of the predictions of each clip, without seed and split.

        A block holds `clip_id` and `seconds` (clips,), and of features each as the network's training reads it: by its
        name, and as `features` if there is but one.
        """


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Gives a network all its weights; what it has under several names is there once, under the first (`Run.weights`).

    Those of another network are a `UserError`.
    """
    first: dict[tuple[int, torch.Size], str] = {}
    names = {
        name: first.setdefault((values.data_ptr(), values.shape), name) if values.numel() else name
        for name, values in network.state_dict().items()
    }
    for name in names.values():
        if name not in weights:
            raise UserError(f"its weights lack '{name}', so they are those of other settings; train it anew")
    try:
        network.load_state_dict({name: weights[own] for name, own in names.items()})
    except RuntimeError as error:
        said = str(error).splitlines()[-1].strip()
        raise UserError(f"its weights do not fit its settings and features ({said}); train it anew") from None
