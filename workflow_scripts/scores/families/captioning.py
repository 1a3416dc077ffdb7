"""Captions: one predicted caption a clip against its reference captions."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pydantic import Field

from workflow_scripts.captions.event_order import counts, written
from workflow_scripts.captions.grammar import TemporalCaption
from workflow_scripts.errors import UserError
from workflow_scripts.metrics import captions
from workflow_scripts.metrics.fluency import Models
from workflow_scripts.scores.interface import NO_ASSETS, Assets, SummedFamily
from workflow_scripts.scores.time_labels import read_time_labels
from workflow_scripts.settings.temporal import Ties
from workflow_scripts.shards import Row

SPICE_JARS = ("stanford_corenlp", "stanford_corenlp_models", "rhino", "rhino_engine")  # asset ids
FENSE_MODELS = ("fense_encoder", "fense_detector", "fense_vocabulary")  # in the order of `Models`
TRIAL = ["a dog barks then a man speaks", "rain falls on a tin roof after thunder rumbles"]  # captions
LARGEST = {"cider_d": 10.0, "spider": 5.5, "spider_fl": 5.5}  # scores of captions that are their references; others: 1
FLUENT = {"fense", "spider_fl"}  # of which nobody knows whether they find fault with the captions


class Scorer(SummedFamily):
    """Which of the metrics are computed that need more than the environment holds."""

    whole = True  # the document frequencies of CIDEr-D
    tried = True

    spice: bool = Field(
        False,
        description="Whether SPICE is computed, with Stanford CoreNLP 3.6.0 and Rhino; if not, it and the two SPIDErs "
        "are unavailable",
    )
    fense: bool = Field(
        False,
        description="Whether FENSE is computed, and with SPICE also SPIDEr-FL, by two pretrained networks; if not, "
        "they are unavailable",
    )
    scene_graphs: str | None = Field(
        None, description="Asset, the wheel of a spaCy model, with which `spice_like` is computed; null: it is not"
    )
    ties: Ties = Field(
        "simultaneous",
        description="For the order of events: `simultaneous`: only words of time tell it; `mention`: where there are "
        "none, the order of mention does. References of which the manifest tells the order need no words",
    )

    time_labels: str | None = Field(
        None,
        description="Asset, a file of what people heard of the order of clips, which goes before the words of the "
        "references (ACC_temp, F1_temp), see `scores/time_labels.py`; null: the words alone",
    )

    @property
    def assets(self) -> tuple[str, ...]:
        others = [name for name in (self.scene_graphs, self.time_labels) if name]
        return (*(SPICE_JARS if self.spice else ()), *(FENSE_MODELS if self.fense else ()), *others)

    @property
    def metrics(self) -> Sequence[str]:
        return (*captions.METRICS, *(captions.EXTRA if self.scene_graphs else ()))

    def records(self, predictions: pa.Table, references: Sequence[Row], assets: Assets = NO_ASSETS) -> np.ndarray:
        """What the scores of each clip are made from: (clips, 28), float64; see `metrics.captions`.

        With `scene_graphs` one column more.

        `predictions` has `caption`, which may be empty; `references` are the manifest rows of the same clips, with
        their `captions`, and `temporal`, their orders of events where they are known. CIDEr-D takes its document
        frequencies from these references, all of one split, and keeps them in every resample.
        """
        found = predictions["caption"].to_pylist()
        for row, caption in zip(references, found, strict=True):
            if caption is None:
                raise UserError(f"clip {row['clip_id']}: has no predicted caption; an empty one is an empty text")
            if not row.get("captions") or not all(text and text.strip() for text in row["captions"]):
                raise UserError(
                    f"clip {row['clip_id']}: needs reference captions to be scored, has {row.get('captions')}"
                )
        labels = read_time_labels(assets[self.time_labels]) if self.time_labels else {}
        return captions.records(
            found,
            [row["captions"] for row in references],
            spice_jars=[assets[name] for name in SPICE_JARS] if self.spice else [],
            scene_graphs=assets[self.scene_graphs] if self.scene_graphs else None,
            order=counts(found, [self.orders(row) for row in references], self.ties),
            heard=[labels.get(row["clip_id"]) for row in references],
            fluency=Models(*(assets[name] for name in FENSE_MODELS)) if self.fense else None,
        )

    def orders(self, row: Row) -> list[TemporalCaption]:
        """The orders of events that the references of a clip tell: as annotated, otherwise as written."""
        if row.get("temporal") is None:
            return written(row["captions"], self.ties)
        return [TemporalCaption.parse(text) for text in row["temporal"] if text is not None]

    def scores(self, sums: np.ndarray, clips: np.ndarray) -> dict[str, np.ndarray]:
        """The scores; those that were not computed are NaN; `spice_like` is there only with `scene_graphs`."""
        return captions.scores_of(sums, clips)

    def try_parts(self, assets: Assets) -> None:
        """Captions that are their references have the largest score of each metric."""
        rows = [{"clip_id": text, "captions": [text]} for text in TRIAL]
        records = self.records(pa.table({"caption": TRIAL}), rows, assets)
        spice, fense = self.spice, self.fense
        needed = {"spice": spice, "spider": spice, "fense": fense, "spider_fl": spice and fense}
        for name, values in self.aggregate(records, np.ones((1, len(rows)))).items():
            value, expected = float(values[0]), LARGEST.get(name, 1.0)
            right = 0 < value < expected + 1e-3 if name in FLUENT else abs(value - expected) < 1e-3
            if needed.get(name, True) and not right:
                raise UserError(
                    f"{name} is {value:g} of captions that are their references, and should be {expected:g}"
                )
