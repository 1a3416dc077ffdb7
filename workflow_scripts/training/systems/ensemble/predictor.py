"""An ensemble as it predicts, from what its members predict."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self

import numpy as np

from workflow_scripts.errors import UserError
from workflow_scripts.shards import Row
from workflow_scripts.training import predictor
from workflow_scripts.training.outputs import ranked_lists, ranking_schema
from workflow_scripts.training.predictor import Trained
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.ensemble.forest import fit
from workflow_scripts.training.systems.ensemble.members import Lists
from workflow_scripts.training.systems.ensemble.settings import System


class Predictor(predictor.Predictor):
    """The likeliest classes by the scores of all members; a block holds `<role>.classes` and `<role>.scores` of each.

    `pairs` are what a forest learns from (`EnsembleFit.weights`).
    """

    gives = "the labels of a video, from what several systems say of it"
    of_members = True

    def __init__(self, system: System, classes: Sequence[str], pairs: Mapping[str, np.ndarray], seed: int) -> None:
        self.schema, self.classes = ranking_schema(classes, min(system.top_k, len(classes))), len(classes)
        if system.method == "forest":
            self.combine = fit(system.forest, pairs["pairs"], pairs["correct"], seed)
        else:
            self.combine = {"average": average, "maximum": maximum}[system.method]

    @classmethod
    def of(cls, trained: Trained) -> Self:
        pairs = {name: values.numpy() for name, values in trained.weights.items()}
        if trained.system.method == "forest" and "pairs" not in pairs:
            raise UserError("its weights lack what the forest has learned from; train it anew")
        return cls(trained.system, trained.known("classes"), pairs, trained.seed)

    def ranked(self, lists: Lists) -> Iterator[Row]:
        """The ranked classes of clips by the lists of all members."""
        return ranked_lists(self.combine(lists, self.classes), self.schema)

    def rows(self, blocks: Iterable[Block]) -> Iterator[Row]:
        for block in blocks:
            roles = sorted({name.rpartition(".")[0] for name in block if name != "clip_id"})
            lists = [(block[f"{role}.classes"], block[f"{role}.scores"]) for role in roles]
            for clip_id, row in zip(block["clip_id"], self.ranked(lists), strict=True):
                yield {"clip_id": clip_id, **row}


def average(lists: Lists, classes: int) -> np.ndarray:
    """The members' mean score; a class that a member does not list has 0 of it."""
    total = np.zeros((len(lists[0][0]), classes), np.float32)
    for numbers, scores in lists:
        total[np.arange(len(total))[:, None], numbers] += scores
    return total / len(lists)


def maximum(lists: Lists, classes: int) -> np.ndarray:
    """The members' highest score."""
    highest = np.zeros((len(lists[0][0]), classes), np.float32)
    for numbers, scores in lists:
        where = (np.arange(len(highest))[:, None], numbers)
        highest[where] = np.maximum(highest[where], scores)
    return highest
