"""Checks of claims against what was measured.

Every check comes down to differences that are positive where it is true: a rank to the difference from the value at the
last place that it may have, a count to the last of the differences that must be positive. Which cell is the best is
chosen in every replicate, so no claim depends on a winner that somebody named.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.files import read_json
from workflow_scripts.metrics import bootstrap
from workflow_scripts.scores.counts import Clips, Origin
from workflow_scripts.settings.claims import CellAt, Comparison, Count, HighestOf, Rank, Value
from workflow_scripts.settings.tables import FACTORS, Fact
from workflow_scripts.tables.cells import value_at
from workflow_scripts.tables.evidence import NOT_COMPUTED, Evidence, Side, describe
from workflow_scripts.tables.plan import CheckClaims
from workflow_scripts.tables.reports import METHOD, mean, reports

FAR = 1e9  # beyond every difference
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
Within = Mapping[str, Mapping[Origin, Clips]]  # by table: the only clips that count


class MissingError(Exception):
    """A claim cannot be checked: the verdict instead, and why."""

    def __init__(self, verdict: str, why: str) -> None:
        super().__init__(why)
        self.verdict, self.why = verdict, why


@dataclass(frozen=True)
class Number:
    """A value and its replicates: (replicates,), or (1,) of one that is counted in all data and known exactly."""

    value: float
    replicates: np.ndarray

    @classmethod
    def extreme(cls, numbers: Sequence["Number"], place: int, highest: bool) -> "Number":
        """The one at a place, from 0, from the highest or the lowest on, chosen anew in every replicate."""
        values = np.array([one.value for one in numbers])[:, None]
        replicates = np.stack(np.broadcast_arrays(*(one.replicates for one in numbers)))
        chosen = len(numbers) - 1 - place if highest else place
        return cls(float(np.sort(values, axis=0)[chosen, 0]), np.sort(replicates, axis=0)[chosen])

    def minus(self, other: "Number") -> "Number":
        """The difference."""
        return Number(self.value - other.value, self.replicates - other.replicates)

    def times(self, factor: float) -> "Number":
        """A multiple."""
        return Number(self.value * factor, self.replicates * factor)


def exactly(value: float) -> Number:
    """A number that has no interval."""
    return Number(value, np.array([value]))


@dataclass(frozen=True)
class Outcome:
    """What a check found: what is shown of it, and the differences on which it rests, positive where it is true."""

    shown: Number
    differences: Number
    rule: str
    notes: tuple[str, ...]
    two_ends: float | None = None  # of a `close` relation: its margin, and the differences are left - right
    at_best: Number | None = None  # the differences if all were true that is not computed here
    clips: tuple[int, int | None] | None = None  # on which a comparison rests, and how many the paper had

    def verdict(self) -> str:
        """Holds where the whole 95 % interval is on the true side, does not hold where no part is."""
        low, high = bootstrap.interval(self.differences.replicates)
        if self.two_ends is not None:
            within, beyond = max(-low, high) <= self.two_ends, low > self.two_ends or high < -self.two_ends
        else:
            within, beyond = low > 0, high <= 0
        if self.at_best is not None:
            beyond = bootstrap.interval(self.at_best.replicates)[1] <= 0
        return HOLDS if within else FAILS if beyond else UNDECIDED

    def probability(self) -> float:
        """The share of replicates in which it is true."""
        known = self.differences.replicates[~np.isnan(self.differences.replicates)]
        true = np.abs(known) <= self.two_ends if self.two_ends is not None else known > 0
        return float(true.mean())

    def p_value(self) -> float | None:
        """Two-sided, by the normal distribution with the bootstrap's standard error; none of what is known exactly.

        1,000 replicates tell no p-value below 0.001, which is more than a correction for some thirty claims allows.
        """
        from scipy.stats import norm

        replicates = self.differences.replicates[~np.isnan(self.differences.replicates)]
        if len(replicates) < 2:
            return None
        value, error = self.differences.value, float(replicates.std(ddof=1))
        distance = abs(value) if self.two_ends is None else abs(abs(value) - self.two_ends)
        if error == 0:
            return 0.0 if distance else 1.0
        return float(2 * norm.sf(distance / error))


class Checker:
    """Reads the cells that claims name."""

    def __init__(self, job: CheckClaims) -> None:
        self.job, self.tables = job, job.tables
        self.evidence = Evidence(job.replicates, job.counts, job.manifests)
        scores = {name: table.scores() for name, table in job.tables.items()}
        self.within: Within = {n: self.evidence.common(own) for n, own in scores.items()} if job.common_clips else {}
        self.values = {name: read_json(path) for name, path in job.values.items()}
        self.described: dict[str, None] = {}  # how the scores of the present claim came about
        self.units: dict[str, None] = {}  # of its values

    def side(self, cell: CellAt) -> Side | Number:
        """The score that a cell shows, or its number if that is counted in all data or reported by training jobs."""
        if cell.table not in self.tables:
            raise UserError(f"there is no table '{cell.table}'{did_you_mean(cell.table, self.tables)}")
        table, place = self.tables[cell.table], (cell.group, cell.row, cell.column)
        if (single := table.statistic_at(*place)) is not None:
            found = value_at(self.values, single)
            if found is None or isinstance(found, dict):
                raise MissingError("not collected", f"no value {single.values}.{single.key}")
            self.units[single.unit] = None
            return exactly(float(found) * FACTORS.get(single.unit, 1.0))
        if (fact := table.fact_at(*place)) is not None:
            self.units[fact.unit] = None
            return self.reported(fact)
        if (measured := table.score_at(*place)) is None:
            raise UserError(f"{cell.table} has no score at {cell.row}, {cell.column}")
        score, selection, unit = measured
        if score.experiment not in self.evidence.scored:
            raise MissingError("not collected", f"experiment {score.experiment} was not scored")
        self.described[describe(selection, len(self.evidence.scored[score.experiment].seeds))] = None
        self.units[unit] = None
        return Side(score, selection, unit, self.within.get(cell.table, {}))

    def reported(self, fact: Fact) -> Number:
        """The mean over seeds of what training jobs report, bootstrapped over seeds."""
        found = mean(fact, reports(self.job.facts.get(fact.experiment, []), [fact]), self.job.replicates_of_seeds)
        if found is None:
            raise MissingError("not collected", f"fewer than two seeds of {fact.experiment} report a '{fact.key}'")
        value, replicates, seeds = found
        self.described[f"mean over all {seeds} seeds; {METHOD}"] = None
        return Number(value, replicates)

    def numbers(self, cells: Iterable[CellAt]) -> tuple[list[Number], str, tuple[int, int | None] | None]:
        """The numbers of several cells, the measured ones on the clips that all have, and on which: a note.

        Also how many clips these are, and how many the paper had; None where nothing is measured on clips.
        """
        found = [self.side(cell) for cell in cells]
        sides = [one for one in found if isinstance(one, Side)]
        if sides and any(isinstance(one, Number) and len(one.replicates) > 1 for one in found):
            raise UserError("compares scores with what training jobs report; name cells of one kind")
        estimates, how = self.evidence.together(sides) if sides else ([], "")
        if estimates is None:
            raise MissingError("unavailable", how)
        measured = (Number(estimate.value, estimate.replicates) for estimate in estimates)
        numbers = [next(measured) if isinstance(one, Side) else one for one in found]
        if not sides:
            return numbers, how, None
        score = sides[0].score
        had = self.job.paper_counts.get(score.experiment, {}).get(score.split)
        return numbers, how, (min(estimate.items for estimate in estimates), had)

    def outcome(self, check: Comparison | Rank | Count) -> Outcome:
        """What a check finds."""
        if isinstance(check, Comparison):
            return self.comparison(check)
        return self.rank(check) if isinstance(check, Rank) else self.count(check)

    def comparison(self, check: Comparison) -> Outcome:
        """The difference of two values; a value that is the best of several is chosen in every replicate."""
        numbers, how, clips = self.numbers(check.cells())
        split = len(list(check.left.cells()))
        left = chosen(check.left, numbers[:split])
        right = exactly(check.right) if isinstance(check.right, float) else chosen(check.right, numbers[split:])
        shown = left.minus(right)
        margin = f"{check.margin:g}"
        notes = (how and f"differences {how}",)
        if check.relation == "close":
            return Outcome(shown, shown, f"within {margin}", notes, check.margin, clips=clips)
        true = shown.times(-1 if check.relation == "less" else 1).minus(exactly(check.margin))
        rule = check.relation + (f" by more than {margin}" if check.margin else "")
        return Outcome(shown, true, rule, notes, clips=clips)

    def rank(self, check: Rank) -> Outcome:
        """The place of a cell, which is as far up as claimed where it beats the one that would be there without it."""
        numbers, how, _ = self.numbers(check.cells())
        sign = 1 if check.first == "highest" else -1
        cell, *others = (one.times(sign) for one in numbers)
        rank = Number(
            1 + sum(other.value > cell.value for other in others),
            1 + np.sum([other.replicates > cell.replicates for other in others], axis=0),
        )
        true = cell.minus(Number.extreme(others, check.at_most - 1, highest=True))
        return Outcome(rank, true, f"rank at most {check.at_most} of {len(numbers)}", (how and f"ranks {how}",))

    def count(self, check: Count) -> Outcome:
        """How many comparisons are true; those whose metric is not computed here confirm nothing and refute nothing."""
        found: list[Outcome] = []
        missing = 0
        for comparison in check.comparisons:
            try:
                found.append(self.comparison(comparison))
            except MissingError as why:
                if why.why != NOT_COMPUTED:
                    raise
                missing += 1
        signed = [one.differences if one.two_ends is None else inside(one) for one in found]
        worst, best = exactly(-FAR), exactly(FAR)  # what is not computed
        true = Number.extreme([*signed, *[worst] * missing], check.at_least - 1, highest=True)
        at_best = Number.extreme([*signed, *[best] * missing], check.at_least - 1, highest=True)
        known = true.value > -FAR
        if not known and bootstrap.interval(at_best.replicates)[1] > 0:
            raise MissingError("unavailable", f"{missing} of {len(check.comparisons)} metrics are not computed here")
        counted = Number(
            sum(one.value > 0 for one in signed), np.sum([one.replicates > 0 for one in signed], axis=0, dtype=float)
        )
        notes = [*dict.fromkeys(note for one in found for note in one.notes)]
        if missing:
            notes.append(f"{missing} of the metrics are not computed here")
        rule = f"at least {check.at_least} of {len(check.comparisons)}"
        return Outcome(counted, true if known else at_best, rule, tuple(notes), at_best=at_best)


def chosen(value: Value, numbers: Sequence[Number]) -> Number:
    """The number that a value means."""
    if isinstance(value, CellAt):
        return numbers[0]
    return Number.extreme(numbers, 0, highest=isinstance(value, HighestOf))


def inside(close: Outcome) -> Number:
    """How far within its margin the difference of a `close` comparison lies."""
    margin = close.two_ends or 0.0
    return Number(margin - abs(close.shown.value), margin - np.abs(close.shown.replicates))
