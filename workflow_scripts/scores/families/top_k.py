"""Classification with one label a head: is the true class among the k likeliest, and are all heads right."""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pydantic import Field

from workflow_scripts.corpora.labels import SINGLE, classes_of
from workflow_scripts.errors import UserError
from workflow_scripts.scores.interface import NO_ASSETS, Assets, SummedFamily
from workflow_scripts.shards import Row, stack

DEPTHS = 1, 5


class Scorer(SummedFamily):
    """The heads of the classifier.

    Of one head the scores are `top1` and `top5`; of several, `<head>_top1` and `<head>_top5` for each and `joint_top1`,
    all heads right at once, which is the action accuracy of EPIC-KITCHENS-100 (Damen et al. 2021, section 5.1).
    """

    heads: list[str] = Field(
        default=[], description="What stands before the colon in labels such as `verb:3`; else one head, `class`"
    )

    @property
    def metrics(self) -> list[str]:
        """The names of the scores, in the order of a record."""
        if not self.heads:
            return [f"top{depth}" for depth in DEPTHS]
        return [*(f"{head}_top{depth}" for head in self.heads for depth in DEPTHS), "joint_top1"]

    def records(self, predictions: pa.Table, references: Sequence[Row], assets: Assets = NO_ASSETS) -> np.ndarray:
        """Of each clip whether it counts for each score: (clips, scores) of 0 and 1.

        `predictions` has `logits_<head>`, and the names of each head's classes in its schema's metadata; `references`
        are the manifest rows of the same clips. Equal logits rank by their class's place. A true class that a head
        does not have counts as wrong.
        """
        names: dict[str, list[str]] = json.loads((predictions.schema.metadata or {}).get(b"heads", b"{}"))
        wanted = self.heads or [SINGLE]
        if list(names) != wanted:
            given = ", ".join(names) or "none"
            raise UserError(f"the predictions have the heads {given}; 'heads' of the scoring has {', '.join(wanted)}")
        labels = [classes_of(row["clip_id"], row["labels"], self.heads) for row in references]
        ranks = [rank(predictions, head, names[head], [row[head] for row in labels], references) for head in wanted]
        hits = [found < depth for found in ranks for depth in DEPTHS]
        if self.heads:
            hits.append(np.logical_and.reduce([found < 1 for found in ranks]))
        return np.stack(hits, axis=1).astype(np.uint8)

    def scores(self, sums: np.ndarray, clips: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(self.metrics, (sums / clips[:, None]).T, strict=True))


def rank(predictions: pa.Table, head: str, names: list[str], true: list[str], references: Sequence[Row]) -> np.ndarray:
    """How many classes come before each clip's true one, too many for any score if there is none: (clips,)."""
    logits = stack(predictions, f"logits_{head}").astype(np.float64)
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        clip = references[int(np.argmin(finite))]["clip_id"]
        raise UserError(f"clip {clip}: a logit is not a finite number; look at how its training went")
    places = {name: place for place, name in enumerate(names)}
    place = np.array([places.get(name, -1) for name in true], int)
    own = logits[np.arange(len(true)), place][:, None]
    before = (logits > own) | ((logits == own) & (np.arange(len(names)) < place[:, None]))
    return np.where(place >= 0, before.sum(axis=1), max(DEPTHS))
