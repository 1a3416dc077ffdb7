"""A counted unigram model as it predicts."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import pyarrow as pa
from scipy import sparse

from workflow_scripts.shards import Row
from workflow_scripts.training import predictor
from workflow_scripts.training.outputs import ranked_lists, ranking_schema
from workflow_scripts.training.predictor import Trained
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.unigram.model import Counts, Unigram


class Predictor(predictor.Predictor):
    """The likeliest classes by the words of a text."""

    gives = "the labels of a video, from its texts"

    def __init__(self, model: Unigram, column: str, classes: Sequence[str], top_k: int) -> None:
        self.model, self.texts, self.required = model, [column], [column]
        self.schema = ranking_schema(classes, min(top_k, len(classes)))

    @classmethod
    def of(cls, trained: Trained) -> Self:
        system, classes = trained.system, trained.known("classes")
        weights = {name: values.numpy() for name, values in trained.weights.items()}
        words = weights["words"].tobytes().decode().split("\n")
        pairs = [weights[f"pairs.{part}"] for part in ("counts", "classes", "starts")]
        counts = Counts(len(classes), trained.known("clips"), {word: number for number, word in enumerate(words)})
        counts.pairs = [sparse.csr_matrix(tuple(pairs), shape=(len(words), len(classes)))]
        counts.label_clips = weights["label_clips"]
        return cls(Unigram(counts, system.reading, system.alpha), system.text.column, classes, system.top_k)

    def ranked(self, words: pa.ListArray) -> Iterator[Row]:
        """The ranked classes of clips by their words."""
        return ranked_lists(self.model.scores(words), self.schema)

    def rows(self, blocks: Iterable[Block]) -> Iterator[Row]:
        (column,) = self.texts
        for block in blocks:
            words = pa.array(block[column].tolist(), pa.list_(pa.string()))
            for clip_id, lists in zip(block["clip_id"], self.ranked(words), strict=True):
                yield {"clip_id": clip_id, **lists}
