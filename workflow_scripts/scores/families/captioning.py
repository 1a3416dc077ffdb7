"""Captions: one predicted caption a clip against its reference captions."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pydantic import Field

from workflow_scripts.errors import UserError
from workflow_scripts.metrics import captions
from workflow_scripts.scores.interface import NO_ASSETS, Assets, SummedFamily
from workflow_scripts.shards import Row

SPICE_JARS = (  # asset ids
    "stanford_corenlp",
    "stanford_corenlp_models",
    "nashorn_core",
    "asm",
    "asm_analysis",
    "asm_commons",
    "asm_tree",
    "asm_util",
)


class Scorer(SummedFamily):
    """Which of the metrics are computed that need more than the environment holds."""

    whole = True  # the document frequencies of CIDEr-D

    spice: bool = Field(
        False,
        description="Whether SPICE is computed, with Stanford CoreNLP 3.6.0 and Nashorn; if not, it and SPIDEr are "
        "unavailable",
    )
    scene_graphs: str | None = Field(
        None, description="Asset, the wheel of a spaCy model, with which `spice_like` is computed; null: it is not"
    )

    @property
    def assets(self) -> tuple[str, ...]:
        return (*(SPICE_JARS if self.spice else ()), *([self.scene_graphs] if self.scene_graphs else []))

    @property
    def metrics(self) -> Sequence[str]:
        return (*captions.METRICS, *(captions.EXTRA if self.scene_graphs else ()))

    def records(self, predictions: pa.Table, references: Sequence[Row], assets: Assets = NO_ASSETS) -> np.ndarray:
        """What the scores of each clip are made from: (clips, 23), float64; see `metrics.captions`.

        With `scene_graphs` one column more.

        `predictions` has `caption`, which may be empty; `references` are the manifest rows of the same clips, with
        their `captions`. CIDEr-D takes its document frequencies from these references, all of one split, and keeps
        them in every resample.
        """
        found = predictions["caption"].to_pylist()
        for row, caption in zip(references, found, strict=True):
            if caption is None:
                raise UserError(f"clip {row['clip_id']}: has no predicted caption; an empty one is an empty text")
            if not row.get("captions") or not all(text and text.strip() for text in row["captions"]):
                raise UserError(
                    f"clip {row['clip_id']}: needs reference captions to be scored, has {row.get('captions')}"
                )
        return captions.records(
            found,
            [row["captions"] for row in references],
            spice_jars=[assets[name] for name in SPICE_JARS] if self.spice else [],
            scene_graphs=assets[self.scene_graphs] if self.scene_graphs else None,
        )

    def scores(self, sums: np.ndarray, clips: np.ndarray) -> dict[str, np.ndarray]:
        """The scores; without SPICE, `spice` and `spider` are NaN; `spice_like` is there only with `scene_graphs`."""
        return captions.scores_of(sums, clips)
