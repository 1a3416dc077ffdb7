"""One job of an ensemble: the members' predictions under each seed become one."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from workflow_scripts.training.ensemble_forest import fit
from workflow_scripts.training.ensemble_members import BATCH, Lists, Member, open_members, side_by_side
from workflow_scripts.training.ensemble_settings import Settings
from workflow_scripts.training.outputs import ranked_lists, ranking_schema, write_history, write_weights

Combine = Callable[[Lists, int], np.ndarray]  # from lists and the number of classes to scores (clips, classes)


def run(system: Settings, inputs: Inputs, seeds: list[int], folder: Path) -> dict[str, Any]:
    """Writes predictions, history and weights (none, the members have theirs); returns facts for params.json."""
    if len(inputs.uses) < 2:
        raise UserError(f"an ensemble needs two members or more, found {len(inputs.uses)}: give --uses role=folder")
    texts = with_texts(inputs, system.require) if system.require else None
    classes = open_members(inputs.uses, seeds[0])[0].classes
    schema = ranking_schema(classes, min(system.top_k, len(classes)))
    history: list[Row] = []
    predicted: Counter[str] = Counter()

    def rows() -> Iterator[Row]:
        for seed in seeds:
            members = open_members(inputs.uses, seed)
            combine, facts = combiner(system, inputs.manifest, members, seed)
            chosen = places_of(members[0], system.predict_splits, texts)
            predicted.update(members[0].splits.take(pa.array(chosen)).to_pylist())
            history.append({"seed": seed, "step": len(chosen), "members": len(members), **facts})
            yield from prediction_rows(members, chosen, combine, seed, schema)

    shards.write(folder / "predictions.parquet", rows(), schema, rows_a_group=BATCH)
    write_history(folder / "history.parquet", history)
    write_weights(folder / "weights.safetensors", {})
    return {
        "members": sorted(inputs.uses),
        "clips": {split: count // len(seeds) for split, count in sorted(predicted.items())},
    }


def combiner(system: Settings, manifest: Path, members: Sequence[Member], seed: int) -> tuple[Combine, dict[str, int]]:
    """The method's function and what there is to record of its making."""
    if system.method != "forest":
        return {"average": average, "maximum": maximum}[system.method], {}
    return fit(system.forest, manifest, members, places_of(members[0], [system.forest.fit_split], None), seed)


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


def prediction_rows(
    members: Sequence[Member], chosen: np.ndarray, combine: Combine, seed: int, schema: pa.Schema
) -> Iterator[Row]:
    """The rows of the predictions file for one seed."""
    first = members[0]
    for places, lists in progress(side_by_side(members, chosen), f"seed {seed}", -(-len(chosen) // BATCH), "batch"):
        ranked = ranked_lists(combine(lists, len(first.classes)), schema)
        clip_ids, splits = (column.take(pa.array(places)).to_pylist() for column in (first.clip_ids, first.splits))
        for clip_id, split, row in zip(clip_ids, splits, ranked, strict=True):
            yield {"seed": seed, "clip_id": clip_id, "split": split, **row}


def places_of(member: Member, splits: Iterable[str], texts: pa.Array | None) -> np.ndarray:
    """The places of the clips of some splits, with the texts; a split without any raises `UserError`."""
    allowed = np.ones(len(member.clip_ids), bool) if texts is None else pc.is_in(member.clip_ids, texts).to_numpy(False)
    chosen = np.zeros(len(allowed), bool)
    for split in splits:
        found = pc.equal(member.splits, split).to_numpy(False) & allowed
        if not found.any():
            raise UserError(
                f"{member.path}: '{member.role}' predicts no clip of the split '{split}' that could be used"
            )
        chosen |= found
    return np.flatnonzero(chosen)


def with_texts(inputs: Inputs, required: Sequence[str]) -> pa.Array:
    """The clips that have all of some texts, by the shards of the stream `words`."""
    files = inputs.features.get("words")
    if not files:
        raise UserError("--features: the stream 'words' is not given, which tells the clips with texts")
    found = []
    for path in files:
        table = pq.read_table(path, columns=["clip_id", "status", *required])
        mask = pc.equal(table["status"], Status.OK.value)
        for name in required:
            mask = pc.and_(mask, pc.greater(pc.fill_null(pc.list_value_length(table[name]), 0), 0))
        found.append(table.filter(mask)["clip_id"])
    return pa.concat_arrays([chunk for column in found for chunk in column.chunks])
