"""Checks what a paper concludes against what was measured.

Every check comes down to differences that are positive where it is true: a rank to the difference from the value at the
last place that it may have, a count to the last of the differences that must be positive. Which cell is the best is
chosen in every replicate, so no claim depends on a winner that somebody named.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.comparability import beside_the_paper, differing
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.files import read_json
from workflow_scripts.metrics import bootstrap
from workflow_scripts.scores.counts import Clips, Origin
from workflow_scripts.settings.claims import CellAt, Claim, Comparison, Count, HighestOf, LowestOf, Rank, Value
from workflow_scripts.settings.tables import FACTORS, Fact
from workflow_scripts.shards import atomic
from workflow_scripts.tables.cells import Place, joined, number, read_published, value_at, write_csv
from workflow_scripts.tables.closing import in_words
from workflow_scripts.tables.evidence import NOT_COMPUTED, Evidence, Side, describe
from workflow_scripts.tables.markdown import escaped
from workflow_scripts.tables.plan import CheckClaims
from workflow_scripts.tables.reports import METHOD, mean, reports
from workflow_scripts.tables.resolution import power, resolution

HEADER = [
    "paper",
    "claim",
    "text",
    "published",
    "measured",
    "ci_low",
    "ci_high",
    "probability",
    "verdict",
    "power",
    "p_value",
    "p_holm",
    "verdict_holm",
    "smallest_difference",
    "at_paper_size",
    "decidable",
    "scale",
    "note",
    "differs",
]
LEVEL = 0.05
FAR = 1e9  # beyond every difference
HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided"
Within = Mapping[str, Mapping[Origin, Clips]]  # by table: the only clips that count
Published = Mapping[tuple[str, Place], Mapping[str, str]]


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


def is_true(comparison: Comparison, difference: float) -> bool:
    """Whether a difference of printed numbers is as compared."""
    if comparison.relation == "close":
        return abs(difference) <= comparison.margin
    return (difference if comparison.relation == "greater" else -difference) > comparison.margin


def printed_values(check: Comparison | Rank | Count, published: Published) -> dict[CellAt, str]:
    """The printed numbers of a check's cells; none where one lacks."""
    lines = {cell: published.get((cell.table, Place(cell.group, cell.row, cell.column))) for cell in check.cells()}
    return {cell: line["value"] for cell, line in lines.items() if line} if all(lines.values()) else {}


def printed_gain(claim: Claim, published: Published) -> float | None:
    """What the paper prints of the difference that a comparison or rank rests on, positive where the claim is true."""
    check = claim.check_of
    if isinstance(check, Comparison):
        difference = printed(claim, published)
        return float(difference) * (-1 if check.relation == "less" else 1) if difference else None
    values = {cell: float(value) for cell, value in printed_values(check, published).items()}
    if not values or isinstance(check, Count):
        return None
    sign = 1 if check.first == "highest" else -1
    others = sorted((sign * values[other] for other in check.others), reverse=True)
    return sign * values[check.cell] - others[check.at_most - 1]


def in_power(claim: Claim, outcome: Outcome, units: Iterable[str], gain: float | None) -> str:
    """What the claim's interval can show, in words."""
    check, only = claim.check_of, [*dict.fromkeys(units)]
    if outcome.p_value() is None:
        return "counted in all data: no interval"
    if isinstance(check, Count):
        low, high = bootstrap.interval(outcome.shown.replicates)
        return f"{low:g} to {high:g} of {len(check.comparisons)} are true in 95 % of the resamples"
    measured = outcome.differences.value + (check.margin if isinstance(check, Comparison) else 0)
    if outcome.two_ends is not None:
        measured = outcome.shown.value
    low, high = bootstrap.interval(outcome.differences.replicates)
    return power(check, low, high, measured, only[0] if len(only) == 1 else "", gain)


def printed(claim: Claim, published: Published) -> str:
    """What the paper prints: the difference, or that of its cells, the rank or the count; empty where cells lack."""
    if claim.published is not None:
        return str(claim.published)
    check = claim.check_of
    texts = printed_values(check, published)
    if not texts:
        return ""
    values = {cell: float(text) for cell, text in texts.items()}
    places = max(len(text.partition(".")[2]) for text in texts.values())

    def of(value: Value) -> float:
        found = [values[cell] for cell in value.cells()]
        return min(found) if isinstance(value, LowestOf) else max(found)

    def difference(comparison: Comparison) -> float:
        right = comparison.right if isinstance(comparison.right, float) else of(comparison.right)
        return of(comparison.left) - right

    if isinstance(check, Comparison):
        return f"{difference(check):.{places}f}"
    if isinstance(check, Rank):
        sign = 1 if check.first == "highest" else -1
        return str(1 + sum(sign * values[other] > sign * values[check.cell] for other in check.others))
    return str(sum(is_true(one, difference(one)) for one in check.comparisons))


def checked_claim(claim: Claim, checker: Checker, published: Published) -> dict[str, str]:
    """The line of a claim."""
    line = {"claim": claim.id, "text": claim.text, "published": printed(claim, published)}
    checker.described.clear()
    checker.units.clear()
    try:
        outcome = checker.outcome(claim.check_of)
    except MissingError as missing:
        return {**line, "verdict": missing.verdict, "note": missing.why}
    except UserError as error:
        raise UserError(f"claim {claim.id}: {error}") from None
    exact = outcome.p_value() is None
    low, high = bootstrap.interval(outcome.shown.replicates)
    p_value, check = outcome.p_value(), claim.check_of
    shows = {}
    if isinstance(check, Comparison) and outcome.clips is not None:
        shows = resolution(check, low, high, *outcome.clips, line["published"])
    return {
        **line,
        **shows,
        "measured": number(outcome.shown.value),
        "ci_low": "" if exact else number(low),
        "ci_high": "" if exact else number(high),
        "probability": number(outcome.probability()),
        "verdict": outcome.verdict(),
        "power": in_power(claim, outcome, checker.units, printed_gain(claim, published)),
        "p_value": "" if p_value is None else p_text(p_value),
        "note": joined(f"checked: {outcome.rule}", *checker.described, *outcome.notes),
    }


def p_text(value: float) -> str:
    """A p-value; the small ones in powers of ten."""
    return f"{value:.3g}"


def with_holm(lines: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The lines with the p-values that Holm's method adjusts over all of a paper's claims that have one.

    A claim that was decided stays so where its adjusted p-value is at most 0.05; it is undecided otherwise.
    """
    from statsmodels.stats.multitest import multipletests

    tested = [line for line in lines if line.get("p_value")]
    values = [float(line["p_value"]) for line in tested]
    adjusted = iter(multipletests(values, LEVEL, "holm")[1] if values else [])
    found = []
    for line in lines:
        own = {"verdict_holm": line["verdict"]}
        if line.get("p_value"):
            value = float(next(adjusted))
            undecided = line["verdict"] in (HOLDS, FAILS) and value > LEVEL
            own = {"p_holm": p_text(value), "verdict_holm": UNDECIDED if undecided else line["verdict"]}
        found.append({**line, **own})
    return found


def render(paper: str, scale: str, lines: Sequence[dict[str, str]]) -> str:
    """The claims of a paper for people, as Markdown."""
    differs = next((line["differs"] for line in lines if line["differs"]), "")
    tested = sum(bool(line.get("p_value")) for line in lines)
    held, kept = (sum(line[name] == HOLDS for line in lines) for name in ("verdict", "verdict_holm"))
    head = ["claim", "printed", "measured", "verdict", "p", "p (Holm)", "verdict (Holm)"]
    table = [head, ["---"] * len(head)]
    for line in lines:
        shown = line.get("measured", "")
        if line.get("ci_low"):
            shown = f"{float(shown):.2f} [{float(line['ci_low']):.2f}, {float(line['ci_high']):.2f}]"
        elif shown:
            shown = f"{float(shown):.2f}"
        cells = [f"{line['text']} ({line['claim']})", line["published"], shown, in_words(line)]
        cells += [line.get("p_value", ""), line.get("p_holm", ""), line["verdict_holm"]]
        table.append([escaped(cell) for cell in cells])
    notes = dict.fromkeys(f"- {line['claim']}: {line['note']}" for line in lines if line.get("note"))
    return "\n\n".join(
        [
            f"# What {paper} concludes, and what was measured",
            f"**Measured at scale `{scale}`, {beside_the_paper(differs)}.**",
            f"{held} of {len(lines)} claims hold, {kept} of them also after Holm's correction for {tested} tests. "
            "A claim holds when the whole 95 % interval of its difference, rank or count is on its side, and does not "
            "hold when no part is. p-values are two-sided, by the normal distribution with the bootstrap's standard "
            "error. Beside the verdict stands what could be shown: differences of at least half the interval (±), and "
            "what the paper's is. Of many claims that are not true "
            "some hold by chance: after Holm's correction a claim is decided "
            f"only where its adjusted p-value is at most {LEVEL:g}.",
            "\n".join(f"| {' | '.join(row)} |" for row in table),
            "\n".join(notes),
        ]
    ).strip() + "\n"  # fmt: skip


def check_claims(job: CheckClaims, output: Path, markdown: Path) -> None:
    """Checks every claim of a paper, the differences bootstrapped in pairs."""
    checker, published = Checker(job), read_published(job.published)
    differs = {name: differing(rests_on) for name, rests_on in job.basis.items()}
    lines = []
    for claim in job.claims.claims:
        line = checked_claim(claim, checker, published)
        sides = [cell.table for cell in claim.check_of.cells()]
        why = "; ".join(dict.fromkeys(differs[name] for name in sides if differs.get(name)))
        lines.append({"paper": job.paper, "scale": job.scale, **line, "differs": why})
    lines = with_holm(lines)
    write_csv(output, HEADER, [{name: line.get(name, "") for name in HEADER} for line in lines])
    with atomic(markdown) as temporary:
        temporary.write_text(render(job.paper, job.scale, lines), encoding="utf-8")
