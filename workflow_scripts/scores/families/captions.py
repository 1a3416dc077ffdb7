"""Captions: one predicted caption a clip against its reference captions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import Field

from workflow_scripts.errors import UserError
from workflow_scripts.metrics import captions
from workflow_scripts.settings.base import Strict
from workflow_scripts.shards import Row


class Scorer(Strict):
    """Where SPICE finds what it needs."""

    spice_jars: Path | None = Field(
        None, description="folder with Stanford CoreNLP 3.6.0 and Nashorn; null: SPICE and SPIDEr are unavailable"
    )

    def records(self, predictions: pa.Table, references: Sequence[Row]) -> np.ndarray:
        """What the scores of each clip are made from: (clips, 23), float64; see `metrics.captions`.

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
        return captions.records(found, [row["captions"] for row in references], spice_jars=self.spice_jars)

    def aggregate(self, records: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The scores, each (replicates,), when the clips of `records` weigh `weights` (replicates, clips).

        Without SPICE, `spice` and `spider` are NaN.
        """
        return captions.scores(records, weights)
