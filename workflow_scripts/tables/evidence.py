"""Scores of experiments with their bootstrap replicates, from which all cells and claims are read."""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from workflow_scripts.metrics import bootstrap
from workflow_scripts.scores.counts import Clips, Counted, Origin
from workflow_scripts.scores.replicates import Replicated, Resample, resamples, rescored
from workflow_scripts.settings.tables import FACTORS, PER_COLUMN, Score, Selection

METHOD = "95 % percentile bootstrap over seeds and clips"
NOT_COMPUTED = "the metric is not computed here"
SHARED = "that all rows have"
NO_CLIP = "there is no clip that all have which are compared"


@dataclass(frozen=True)
class Estimate:
    """A score, or a difference of two, with its replicates (replicates,), and the clips that it rests on."""

    value: float
    replicates: np.ndarray
    seeds: int
    clips: Clips

    @property
    def items(self) -> int:
        """The number of clips."""
        return len(self.clips)

    @property
    def computed(self) -> bool:
        """Whether there is a value: a metric is NaN where what it needs is not there."""
        return not math.isnan(self.value)

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference, paired over clips where both are on the same ones; else the fewer clips are its own."""
        seeds, clips = min(self.seeds, other.seeds), min(self.clips, other.clips, key=len)
        return Estimate(self.value - other.value, self.replicates - other.replicates, seeds, clips)

    def times(self, factor: float) -> "Estimate":
        """The same in another unit."""
        return replace(self, value=self.value * factor, replicates=self.replicates * factor)


@dataclass(frozen=True)
class Side:
    """A score as a cell shows it: the selection of seeds, the unit, and of each origin the only clips that count."""

    score: Score
    selection: Selection | None = None
    unit: str = ""
    within: Mapping[Origin, Clips] = field(default_factory=dict)


class Evidence:
    """The scores of several experiments, on the same resamples of the clips that they have in common.

    By experiment: its resampled scores, the counts that these were made from, and the manifest of its corpus.
    """

    def __init__(
        self, replicates: Mapping[str, Path], counts: Mapping[str, Path], manifests: Mapping[str, Path]
    ) -> None:
        self.scored = {name: Replicated.load(path) for name, path in replicates.items()}
        self.counts, self.manifests = counts, manifests
        self.clips = functools.cache(self.read_clips)
        self.resample = functools.cache(self.draw)
        self.scores_on = functools.cache(self.rescore)

    def read_clips(self, experiment: str, split: str) -> Clips:
        """The clips of a split that an experiment is scored on."""
        self.scored[experiment].check(split, f"experiment '{experiment}'")
        return Counted.open(self.counts[experiment]).clips(split, self.manifests[experiment])

    def draw(self, manifest: Path, split: str, count: int) -> Resample:
        """The resample of a split on which scoring was repeated, too."""
        return resamples(manifest, [split], count)[split]

    def rescore(self, experiment: str, some: Clips) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The scores of an experiment on some of its clips."""
        (_, resampled), *_ = self.scored[experiment].scores[some.split].values()
        drawn = self.resample(*some.origin, resampled.shape[1])
        return rescored(Counted.open(self.counts[experiment]), drawn, some)

    def common(self, scores: Iterable[Score]) -> dict[Origin, Clips]:
        """The clips of each corpus and split that all have which are scored on it."""
        found: dict[Origin, Clips] = {}
        for experiment, split in dict.fromkeys((score.experiment, score.split) for score in scores):
            if experiment in self.scored:
                own = self.clips(experiment, split)
                found[own.origin] = found.get(own.origin, own).common(own)
        return found

    def own(self, side: Side) -> Clips:
        """The clips that a side's experiment is scored on."""
        return self.clips(side.score.experiment, side.score.split)

    def measured(self, left: Side, right: Side | None = None) -> tuple[Estimate | None, str]:
        """A score, or the difference of two on the clips that both have, in their units, and on which clips: a note.

        Instead of an estimate None, and why there is none.
        """
        found, how = self.together([left] if right is None else [left, right])
        if found is None:
            return None, how
        return (found[0] if right is None else found[0].minus(found[1])), how

    def together(self, sides: Sequence[Side]) -> tuple[list[Estimate] | None, str]:
        """Several scores on the clips that all have, in their units, and on which clips: a note.

        Instead of the estimates None, and why there are none.
        """
        chosen = [side.within.get(self.own(side).origin, self.own(side)) for side in sides]
        clips, sizes = chosen[0], listed([str(len(one)) for one in chosen])
        if any(one.origin != clips.origin for one in chosen):
            how = f"between {sizes} clips of different corpora or splits, not paired"
        elif any(one != clips for one in chosen):
            clips = functools.reduce(Clips.common, chosen)
            how = f"paired over the {len(clips)} clips that {'both' if len(sides) == 2 else 'all'} have, of {sizes}"
            chosen = [clips] * len(sides)
        elif len(sides) == 1:
            own = len(self.own(sides[0]))
            how = "" if clips == self.own(sides[0]) else f"on the {len(clips)} of its {own} clips {SHARED}"
        elif all(clips == self.own(side) for side in sides):
            how = "paired over clips"
        else:
            how = f"paired over the {len(clips)} clips {SHARED}"
        if not all(map(len, chosen)):
            return None, NO_CLIP
        found = [self.estimate(side, one) for side, one in zip(sides, chosen, strict=True)]
        return (found, how) if all(one.computed for one in found) else (None, NOT_COMPUTED)

    def estimate(self, side: Side, clips: Clips | None = None) -> Estimate:
        """The mean over the selected seeds in the side's unit, with the selection repeated in every replicate.

        On the clips that its experiment has, or on some of them. Seeds are selected by their scores on all clips of the
        split that the selection names.
        """
        score, selection = side.score, side.selection
        scored, where = self.scored[score.experiment], f"experiment '{score.experiment}'"
        seeds = len(scored.seeds)
        sample, resampled = scored.metric(score.split, score.metric, where)
        ranking, ranking_resampled, count = sample, resampled, seeds
        if selection is not None:
            metric = score.metric if selection.ranking == PER_COLUMN else selection.ranking
            ranking, ranking_resampled = scored.metric(selection.by, metric, where)
            count = min(selection.best, seeds)
        if clips is not None and clips != self.own(side):
            sample, resampled = self.scores_on(score.experiment, clips)[score.metric]
        draws = bootstrap.seed_draws(seeds, resampled.shape[1], score.experiment)
        value = bootstrap.selected_mean(sample, ranking, count)
        replicates = bootstrap.replicated_mean(resampled, ranking_resampled, count, draws)
        return Estimate(value, replicates, seeds, clips or self.own(side)).times(FACTORS.get(side.unit, 1.0))


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def describe(selection: Selection | None, seeds: int) -> str:
    """How a cell came about, for its note."""
    if selection is None:
        return f"mean over all {seeds} seeds; {METHOD}"
    by = "the column's own metric" if selection.ranking == PER_COLUMN else selection.ranking
    chosen = f"mean of the best {min(selection.best, seeds)} of {seeds} seeds by {by} on {selection.by}"
    asked = f" (planned: the best {selection.best} of {selection.of})" if seeds != selection.of else ""
    return f"{chosen}{asked}; {METHOD}, the selection repeated in each replicate"
