"""One job of the unigram model: counts the training clips' words and scores the others, both as streams of shards."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts import shards
from workflow_scripts.errors import UserError
from workflow_scripts.progress import progress
from workflow_scripts.shards import Row, Status
from workflow_scripts.training.data import Inputs
from workflow_scripts.training.outputs import ranked_lists, ranking_schema, write_history
from workflow_scripts.training.unigram_model import Counts, Unigram
from workflow_scripts.training.unigram_settings import Settings

COUNTED, SCORED = 65536, 1024  # clips at a time


def run(system: Settings, inputs: Inputs, seeds: list[int], folder: Path) -> dict[str, Any]:
    """Counts, then writes predictions, history and weights; returns facts for params.json.

    Only clips with at least one word take part; every word in the shards has a vector (section 4.3).
    """
    files = inputs.features.get("words")
    if not files:
        raise UserError("--features: the stream 'words' is not given")
    classes: list[str] = json.loads(pq.read_schema(files[0]).metadata[b"classes"])
    column = system.text.column
    counts = Counts(len(classes))
    for table in progress(clips_with_words(files, column, [system.train_split], COUNTED), "counting", unit="batch"):
        counts.add(table[column].combine_chunks(), table["labels"].combine_chunks())
    if not counts.clips:
        raise UserError(f"no clip of the split '{system.train_split}' has a word in '{column}'")
    model = Unigram(counts, system.reading, system.alpha)
    schema = ranking_schema(classes, min(system.top_k, len(classes)))
    predicted: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for seed in seeds:
            tables = clips_with_words(files, column, system.predict_splits, SCORED)
            for table in progress(tables, f"seed {seed}", unit="batch"):
                predicted.update(table["split"].to_pylist())
                ranked = ranked_lists(model.scores(table[column].combine_chunks()), schema)
                for clip, lists in zip(table.select(["clip_id", "split"]).to_pylist(), ranked, strict=True):
                    yield {"seed": seed, **clip, **lists}

    shards.write(folder / "predictions.parquet", rows(), schema)
    for split in system.predict_splits:
        if not predicted[split]:
            raise UserError(f"no clip of the split '{split}' has a word in '{column}'")
    facts = {"words": len(counts.vocabulary), "pairs": counts.total().nnz}
    write_history(folder / "history.parquet", ({"seed": seed, "step": counts.clips, **facts} for seed in seeds))
    write_counts(folder / "weights.safetensors", counts, seeds)
    clips = {system.train_split: counts.clips} | {split: count // len(seeds) for split, count in predicted.items()}
    return {"parameters": facts["pairs"], "clips": clips, **facts}


def clips_with_words(files: Iterable[Path], column: str, splits: Sequence[str], size: int) -> Iterator[pa.Table]:
    """The clips of some splits that have words in a column, at most `size` at a time."""
    columns = ["clip_id", "split", "labels", "status", column]
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(size, columns=columns):
                table = pa.table(batch)
                wanted = pc.and_(pc.equal(table["status"], Status.OK.value), pc.is_in(table["split"], pa.array(splits)))
                some = pc.greater(pc.fill_null(pc.list_value_length(table[column]), 0), 0)
                if (table := table.filter(pc.and_(wanted, some))).num_rows:
                    yield table


def write_counts(path: Path, counts: Counts, seeds: list[int]) -> None:
    """`weights.safetensors`: the counts by seed, the words as UTF-8 text with a line for each."""
    from safetensors.numpy import save_file

    pairs = counts.total()
    values = {
        "words": np.frombuffer("\n".join(counts.vocabulary).encode(), np.uint8),
        "label_clips": counts.label_clips,
        "pairs.starts": pairs.indptr,
        "pairs.classes": pairs.indices,
        "pairs.counts": pairs.data,
    }
    with shards.atomic(path) as temporary:
        save_file({f"{seed}/{name}": value for seed in seeds for name, value in values.items()}, temporary)
