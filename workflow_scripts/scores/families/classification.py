"""Classification: accuracy and cross entropy of logits, where every clip has one label."""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.scores.interface import NO_ASSETS, Assets, SummedFamily
from workflow_scripts.shards import Row, stack


class Scorer(SummedFamily):
    """It has no settings."""

    @property
    def metrics(self) -> Sequence[str]:
        return "accuracy", "loss"

    def records(self, predictions: pa.Table, references: Sequence[Row], assets: Assets = NO_ASSETS) -> np.ndarray:
        """Of each clip the cross entropy in nats and whether the largest logit is its label's: (clips, 2), float64.

        `predictions` has `logits`, and the classes in its schema's metadata; `references` are the manifest rows of the
        same clips.
        """
        classes: list[str] = json.loads(predictions.schema.metadata[b"classes"])
        for row in references:
            if len(row["labels"] or []) != 1:
                raise UserError(f"clip {row['clip_id']}: needs one label to be scored, has {row['labels']}")
            if row["labels"][0] not in classes:
                hint = did_you_mean(row["labels"][0], classes)
                raise UserError(f"clip {row['clip_id']}: its label '{row['labels'][0]}' is not a class{hint}")
        true = np.array([classes.index(row["labels"][0]) for row in references], int)
        logits = stack(predictions, "logits").astype(np.float64)
        losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(true)), true]
        return np.stack([losses, logits.argmax(axis=1) == true], axis=1)

    def scores(self, sums: np.ndarray, clips: np.ndarray) -> dict[str, np.ndarray]:
        loss, accuracy = (sums / clips[:, None]).T
        return {"accuracy": accuracy, "loss": loss}
