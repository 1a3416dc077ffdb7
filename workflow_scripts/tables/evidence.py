"""Scores of experiments with their bootstrap replicates, from which all cells and claims are read."""

import functools
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.metrics import bootstrap
from workflow_scripts.scores.counts import Scored
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
    """The scores of several experiments on common resamples of the clips."""

    def __init__(self, counts: dict[str, Path], replicates: int) -> None:
        self.scored = {name: Scored.load(path) for name, path in counts.items()}
        self.replicates = replicates

    @functools.cache  # noqa: B019 - lives as long as the command
    def weights(self, split: str) -> tuple[list[str], np.ndarray]:
        """All clips of a split, and how often each replicate draws them: (replicates, clips)."""
        clips = sorted({clip for scored in self.scored.values() for clip in scored.clips.get(split, [])})
        return clips, bootstrap.clip_weights(len(clips), self.replicates, split)

    @functools.cache  # noqa: B019
    def values(self, experiment: str, split: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Every metric of each seed: as scored, (seeds,), and on the resampled clips, (seeds, replicates)."""
        scored = self.scored[experiment]
        if split not in scored.clips:
            raise UserError(f"experiment '{experiment}' has no scores on '{split}'{did_you_mean(split, scored.clips)}")
        weights = bootstrap.weights_of(scored.clips[split], *self.weights(split))
        weights = np.vstack([np.ones(weights.shape[1]), weights])  # the first row is the sample itself
        seeds = [scored.scorer.aggregate(records, weights) for records in scored.records[split]]
        stacked = {metric: np.stack([seed[metric] for seed in seeds]) for metric in seeds[0]}
        return {m: v[:, 0] for m, v in stacked.items()}, {m: v[:, 1:] for m, v in stacked.items()}

    def metric(self, experiment: str, split: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """One of `values`."""
        sample, resampled = self.values(experiment, split)
        if metric not in sample:
            raise UserError(f"experiment '{experiment}' has no metric '{metric}'{did_you_mean(metric, sample)}")
        return sample[metric], resampled[metric]

    def estimate(self, score: Score, selection: Selection | None) -> Estimate:
        """The mean over the selected seeds, with the selection repeated in every replicate."""
        scored = self.scored[score.experiment]
        seeds = len(scored.seeds)
        sample, resampled = self.metric(score.experiment, score.split, score.metric)
        ranking, ranking_resampled, count = sample, resampled, seeds
        if selection is not None:
            metric = score.metric if selection.ranking == PER_COLUMN else selection.ranking
            ranking, ranking_resampled = self.metric(score.experiment, selection.by, metric)
            count = min(selection.best, seeds)
        draws = bootstrap.seed_draws(seeds, self.replicates, score.experiment)
        value = bootstrap.selected_mean(sample, ranking, count)
        replicates = bootstrap.replicated_mean(resampled, ranking_resampled, count, draws)
        return Estimate(value, replicates, seeds, len(scored.clips[score.split]))


def describe(selection: Selection | None, seeds: int) -> str:
    """How a cell came about, for its note."""
    if selection is None:
        return f"mean over all {seeds} seeds; {METHOD}"
    by = "the column's own metric" if selection.ranking == PER_COLUMN else selection.ranking
    chosen = f"mean of the best {min(selection.best, seeds)} of {seeds} seeds by {by} on {selection.by}"
    asked = f" (planned: the best {selection.best} of {selection.of})" if seeds != selection.of else ""
    return f"{chosen}{asked}; {METHOD}, the selection repeated in each replicate"
