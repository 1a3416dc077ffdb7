"""Scores of experiments with their bootstrap replicates, from which all cells and claims are read."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.metrics import bootstrap
from workflow_scripts.scores.replicates import Replicated
from workflow_scripts.settings.tables import PER_COLUMN, Score, Selection

METHOD = "95 % percentile bootstrap over seeds and clips"
NOT_COMPUTED = "the metric is not computed here"


@dataclass(frozen=True)
class Estimate:
    """A score, or a difference of two, with its replicates (replicates,); fractions, not yet in a unit."""

    value: float
    replicates: np.ndarray
    seeds: int
    items: int

    @property
    def computed(self) -> bool:
        """Whether there is a value: a metric is NaN where what it needs is not there."""
        return not math.isnan(self.value)

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference, paired over clips."""
        seeds, items = min(self.seeds, other.seeds), min(self.items, other.items)
        return Estimate(self.value - other.value, self.replicates - other.replicates, seeds, items)

    def times(self, factor: float) -> "Estimate":
        """The same in another unit."""
        return Estimate(self.value * factor, self.replicates * factor, self.seeds, self.items)


class Evidence:
    """The scores of several experiments, on the same resamples of the clips that they have in common."""

    def __init__(self, replicates: dict[str, Path]) -> None:
        self.scored = {name: Replicated.load(path) for name, path in replicates.items()}

    def estimate(self, score: Score, selection: Selection | None) -> Estimate:
        """The mean over the selected seeds, with the selection repeated in every replicate."""
        scored = self.scored[score.experiment]
        seeds = len(scored.seeds)
        sample, resampled = scored.metric(score.split, score.metric, f"experiment '{score.experiment}'")
        ranking, ranking_resampled, count = sample, resampled, seeds
        if selection is not None:
            metric = score.metric if selection.ranking == PER_COLUMN else selection.ranking
            ranking, ranking_resampled = scored.metric(selection.by, metric, f"experiment '{score.experiment}'")
            count = min(selection.best, seeds)
        draws = bootstrap.seed_draws(seeds, resampled.shape[1], score.experiment)
        value = bootstrap.selected_mean(sample, ranking, count)
        replicates = bootstrap.replicated_mean(resampled, ranking_resampled, count, draws)
        return Estimate(value, replicates, seeds, scored.clips[score.split])


def describe(selection: Selection | None, seeds: int) -> str:
    """How a cell came about, for its note."""
    if selection is None:
        return f"mean over all {seeds} seeds; {METHOD}"
    by = "the column's own metric" if selection.ranking == PER_COLUMN else selection.ranking
    chosen = f"mean of the best {min(selection.best, seeds)} of {seeds} seeds by {by} on {selection.by}"
    asked = f" (planned: the best {selection.best} of {selection.of})" if seeds != selection.of else ""
    return f"{chosen}{asked}; {METHOD}, the selection repeated in each replicate"
