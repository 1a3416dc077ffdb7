"""Classification: accuracy and cross entropy of logits, where every clip has one label."""

import itertools
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pydantic import Field

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.scores.interface import NO_ASSETS, Assets, SummedFamily
from workflow_scripts.shards import Row, stack


class Scorer(SummedFamily):
    """Of `pairs` of classes it is told how often one is taken for the other."""

    pairs: list[tuple[str, str]] = Field(
        [],
        description="classes whose confusion is scored: `confused:3-5` is the share of all clips that are of one and "
        "taken for the other, `confused_beside:3-5` that of the pair which the sample confuses most of all others, and "
        "`confused_mean` the mean over all pairs of classes",
    )
    classes: list[str] = Field([], description="all classes, if there are pairs, in the order of the outputs")

    @property
    def metrics(self) -> Sequence[str]:
        named = [f"{name}:{one}-{other}" for one, other in self.pairs for name in ("confused", "confused_beside")]
        return "accuracy", "loss", *(["confused_mean", *named] if named else [])

    @property
    def all_pairs(self) -> list[tuple[str, str]]:
        """The pairs whose counts a record holds."""
        return list(itertools.combinations(self.classes, 2)) if self.pairs else []

    def records(self, predictions: pa.Table, references: Sequence[Row], assets: Assets = NO_ASSETS) -> np.ndarray:
        """Of each clip the cross entropy in nats and whether the largest logit is its label's: (clips, 2), float64.

        And of each pair of classes, if some are named, whether the clip is of one and taken for the other.
        `predictions` has `logits`, and the classes in its schema's metadata; `references` are the manifest rows of the
        same clips.
        """
        classes: list[str] = json.loads(predictions.schema.metadata[b"classes"])
        self.check_pairs(classes)
        for row in references:
            if len(row["labels"] or []) != 1:
                raise UserError(f"clip {row['clip_id']}: needs one label to be scored, has {row['labels']}")
            if row["labels"][0] not in classes:
                hint = did_you_mean(row["labels"][0], classes)
                raise UserError(f"clip {row['clip_id']}: its label '{row['labels'][0]}' is not a class{hint}")
        true = np.array([classes.index(row["labels"][0]) for row in references], int)
        logits = stack(predictions, "logits").astype(np.float64)
        losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(true)), true]
        found = logits.argmax(axis=1)
        taken = [np.isin(true, pair) & np.isin(found, pair) & (true != found)
                 for pair in ([classes.index(label) for label in pair] for pair in self.all_pairs)]  # fmt: skip
        return np.stack([losses, found == true, *taken], axis=1)

    def check_pairs(self, classes: list[str]) -> None:
        """Pairs of other classes than the system's are a `UserError`."""
        if self.pairs and self.classes != classes:
            told = ", ".join(self.classes) or "none"
            raise UserError(f"'classes' of the scoring has {told}; the system has the classes {', '.join(classes)}")
        for label in itertools.chain(*self.pairs):
            if label not in classes:
                raise UserError(f"'pairs' of the scoring: '{label}' is not a class{did_you_mean(label, classes)}")

    def scores(self, sums: np.ndarray, clips: np.ndarray) -> dict[str, np.ndarray]:
        """The rival of a pair is that of the first replicate, the sample: the highest of resampled counts is biased."""
        loss, accuracy, *pairs = (sums / clips[:, None]).T
        found = {"accuracy": accuracy, "loss": loss}
        if not self.pairs:
            return found
        confused = np.stack(pairs)
        found["confused_mean"] = confused.mean(axis=0)
        places = {frozenset(pair): place for place, pair in enumerate(self.all_pairs)}
        for one, other in self.pairs:
            place = places[frozenset((one, other))]
            found[f"confused:{one}-{other}"] = confused[place]
            others = np.delete(confused, place, axis=0)  # of two classes there are none
            rival = others[others[:, :1].argmax()] if len(others) else np.zeros(len(clips))
            found[f"confused_beside:{one}-{other}"] = rival
        return found
