"""The unigram model: counts the training clips' words and scores the others, both as streams of shards."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.errors import UserError
from workflow_scripts.parquet import open_parquet
from workflow_scripts.progress import progress
from workflow_scripts.shards import Row, Status
from workflow_scripts.training import fitting
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.stream import stated_classes
from workflow_scripts.training.systems.unigram.model import Counts, Unigram
from workflow_scripts.training.systems.unigram.predictor import Predictor
from workflow_scripts.training.systems.unigram.settings import System

COUNTED, SCORED = 65536, 1024  # clips at a time


class Data:
    """The counts of the training clips, and the shards of words.

    Only clips with at least one word take part; every word in the shards has a vector (section 4.3).
    """

    def __init__(self, system: System, job: TrainingJob) -> None:
        self.files = job.features.get("words", [])
        if not self.files:
            raise UserError("features: the stream 'words' is not given")
        self.system, self.column = system, system.text.column
        self.classes = stated_classes(self.files[0])
        self.counts = Counts(len(self.classes))
        tables = clips_with_words(self.files, self.column, [system.train_split], COUNTED)
        for table in progress(tables, "counting", unit="batch"):
            self.counts.add(table[self.column].combine_chunks(), table["labels"].combine_chunks())
        if not self.counts.clips:
            raise UserError(f"no clip of the split '{system.train_split}' has a word in '{self.column}'")
        self.model = Unigram(self.counts, system.reading, system.alpha)


class UnigramFit(fitting.Fit):
    """The model, which is the same under every seed."""

    def __init__(self, system: System, job: TrainingJob, data: Data, seed: int) -> None:
        self.data, self.seed = data, seed
        self.sizes = {"words": len(data.counts.vocabulary), "pairs": data.counts.total().nnz}
        self.predictor = Predictor(data.model, data.column, data.classes, system.top_k)
        self.schema = self.predictor.schema
        self.history = [{"step": data.counts.clips, **self.sizes}]
        self.predicted: Counter[str] = Counter()

    def predict(self) -> Iterator[Row]:
        """Ranked classes, in the order of the shards."""
        column, splits = self.data.column, self.data.system.predict_splits
        tables = clips_with_words(self.data.files, column, splits, SCORED)
        for table in progress(tables, f"seed {self.seed}", unit="batch"):
            self.predicted.update(table["split"].to_pylist())
            ranked = self.predictor.ranked(table[column].combine_chunks())
            for clip, lists in zip(table.select(["clip_id", "split"]).to_pylist(), ranked, strict=True):
                yield {**clip, **lists}
        for split in splits:
            if not self.predicted[split]:
                raise UserError(f"no clip of the split '{split}' has a word in '{column}'")

    def weights(self) -> Mapping[str, np.ndarray]:
        """The counts; the words as UTF-8 text with a line for each."""
        counts, pairs = self.data.counts, self.data.counts.total()
        return {
            "words": np.frombuffer("\n".join(counts.vocabulary).encode(), np.uint8),
            "label_clips": counts.label_clips,
            "pairs.starts": pairs.indptr,
            "pairs.classes": pairs.indices,
            "pairs.counts": pairs.data,
        }

    def kept(self) -> dict[str, Any]:
        return {"classes": self.data.classes, "clips": self.data.counts.clips}

    def facts(self) -> dict[str, Any]:
        clips = {self.data.system.train_split: self.data.counts.clips, **self.predicted}
        return {"parameters": self.sizes["pairs"], "clips": clips, **self.sizes}


class Fitting(fitting.Fitting):
    """The seeds of a job."""

    open = Data
    start = UnigramFit


def clips_with_words(files: Iterable[Path], column: str, splits: Sequence[str], size: int) -> Iterator[pa.Table]:
    """The clips of some splits that have words in a column, at most `size` at a time."""
    columns = ["clip_id", "split", "labels", "status", column]
    for path in files:
        with open_parquet(path) as file:
            for batch in file.iter_batches(size, columns=columns):
                table = pa.table(batch)
                wanted = pc.and_(pc.equal(table["status"], Status.OK.value), pc.is_in(table["split"], pa.array(splits)))
                some = pc.greater(pc.fill_null(pc.list_value_length(table[column]), 0), 0)
                if (table := table.filter(pc.and_(wanted, some))).num_rows:
                    yield table
