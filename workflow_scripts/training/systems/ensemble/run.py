"""An ensemble under one seed: the members' predictions become one."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.errors import UserError
from workflow_scripts.parquet import read_parquet
from workflow_scripts.progress import progress
from workflow_scripts.shards import Row, Status
from workflow_scripts.training import fitting
from workflow_scripts.training.job import TrainingJob
from workflow_scripts.training.outputs import ranking_schema
from workflow_scripts.training.systems.ensemble.forest import training_pairs
from workflow_scripts.training.systems.ensemble.members import BATCH, Member, open_members, side_by_side
from workflow_scripts.training.systems.ensemble.predictor import Predictor
from workflow_scripts.training.systems.ensemble.settings import System

log = logging.getLogger(__name__)


class Data:
    """The members, and which clips have the texts that they must have (None: all clips count)."""

    def __init__(self, system: System, job: TrainingJob) -> None:
        if len(job.uses) < 2:
            raise UserError(f"an ensemble needs two members or more in 'uses', found {len(job.uses)}")
        self.texts = with_texts(job, system.require) if system.require else None


class EnsembleFit(fitting.Fit):
    """The members of a seed, whose weights are their own. They are combined while predicting: a forest is large."""

    def __init__(self, system: System, job: TrainingJob, data: Data, seed: int) -> None:
        self.system, self.manifest, self.seed = system, job.manifest, seed
        self.members, lacking = open_members(job.uses, seed)
        self.left_out = lacking.filter(pc.field("split").isin(system.predict_splits))
        if len(self.left_out):
            log.info("seed %d: clips that not all members predict are left out: %s", seed, self.reasons())
        self.classes = self.members[0].classes
        self.schema = ranking_schema(self.classes, min(self.system.top_k, len(self.classes)))
        self.chosen = places_of(self.members[0], self.system.predict_splits, data.texts)
        self.history: list[Row] = []
        self.pairs: dict[str, np.ndarray] = {}

    def predict(self) -> Iterator[Row]:
        """Ranked classes by the method's scores."""
        if self.system.method == "forest":
            self.pairs = self.forest_pairs()
        facts = {}
        if self.pairs:
            facts = {"pairs": len(self.pairs["pairs"]), "correct_pairs": int(self.pairs["correct"].sum())}
        self.history = [{"step": len(self.chosen), "members": len(self.members), **facts}]
        predictor = Predictor(self.system, self.classes, self.pairs, self.seed)
        first, batches = self.members[0], -(-len(self.chosen) // BATCH)
        for places, lists in progress(side_by_side(self.members, self.chosen), f"seed {self.seed}", batches, "batch"):
            ranked = predictor.ranked(lists)
            clip_ids, splits = (column.take(pa.array(places)).to_pylist() for column in (first.clip_ids, first.splits))
            for clip_id, split, row in zip(clip_ids, splits, ranked, strict=True):
                yield {"clip_id": clip_id, "split": split, **row}

    def forest_pairs(self) -> dict[str, np.ndarray]:
        """What a forest learns from: scores (pairs, members), and whether each is correct (pairs,)."""
        settings, random = self.system.forest, np.random.default_rng(self.seed)
        places = places_of(self.members[0], [settings.fit_split])
        features, correct = training_pairs(settings, self.manifest, self.members, places, random)
        return {"pairs": features, "correct": correct}

    def weights(self) -> Mapping[str, np.ndarray]:
        """What the forest has learned from, which is smaller than its trees; nothing of other methods."""
        return self.pairs

    def kept(self) -> dict[str, Any]:
        return {"classes": self.classes}

    def facts(self) -> dict[str, Any]:
        """The members, the clips, and how many of the others lack which member."""
        clips = Counter(self.members[0].splits.take(pa.array(self.chosen)).to_pylist())
        return {
            "members": [member.role for member in self.members],
            "clips": dict(sorted(clips.items())),
            "left_out": dict(sorted(Counter(self.left_out["split"].to_pylist()).items())),
            "left_out_for": self.reasons(),
        }

    def reasons(self) -> dict[str, dict[str, int]]:
        """How many clips of each split some member does not predict, by the first one that does not."""
        found: dict[str, dict[str, int]] = {}
        counted = self.left_out.group_by(["split", "why"]).aggregate([([], "count_all")]).to_pylist()
        for row in sorted(counted, key=lambda row: (row["split"], row["why"])):
            found.setdefault(row["split"], {})[row["why"]] = row["count_all"]
        return found


class Fitting(fitting.Fitting):
    """The seeds of a job."""

    open = Data
    start = EnsembleFit


def places_of(member: Member, splits: Iterable[str], texts: pa.Array | None = None) -> np.ndarray:
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


def with_texts(job: TrainingJob, required: Sequence[str]) -> pa.Array:
    """The clips that have all of some texts, by the shards of the stream `words`."""
    files = job.features.get("words")
    if not files:
        raise UserError("features: the stream 'words' is not given, which tells the clips with texts")
    found = []
    for path in files:
        table = read_parquet(path, ["clip_id", "status", *required])
        mask = pc.equal(table["status"], Status.OK.value)
        for name in required:
            mask = pc.and_(mask, pc.greater(pc.fill_null(pc.list_value_length(table[name]), 0), 0))
        found.append(table.filter(mask)["clip_id"])
    return pa.concat_arrays([chunk for column in found for chunk in column.chunks])
