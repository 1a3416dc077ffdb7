"""Checks what a paper concludes against what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.comparability import differing
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.metrics import bootstrap
from workflow_scripts.scores.counts import Clips, Origin
from workflow_scripts.settings.claims import CellAt, Claim, Comparison
from workflow_scripts.settings.tables import Fact, Table
from workflow_scripts.tables.cells import Place, number, read_published, write_csv
from workflow_scripts.tables.evidence import Evidence, Side, describe
from workflow_scripts.tables.plan import CheckClaims
from workflow_scripts.tables.reports import METHOD, difference, reports
from workflow_scripts.tables.resolution import resolution

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
    "smallest_difference",
    "at_paper_size",
    "decidable",
    "scale",
    "note",
    "differs",
]
Within = Mapping[str, Mapping[Origin, Clips]]  # by table: the only clips that count
Published = Mapping[tuple[str, Place], Mapping[str, str]]


def side(cell: CellAt, tables: Mapping[str, Table], within: Within, where: str) -> Side:
    """The score that a cell shows."""
    if cell.table not in tables:
        raise UserError(f"{where}: there is no table '{cell.table}'{did_you_mean(cell.table, tables)}")
    found = tables[cell.table].score_at(cell.group, cell.row, cell.column)
    if found is None:
        raise UserError(f"{where}: {cell.table} has no score at {cell.row}, {cell.column}")
    score, selection, unit = found
    return Side(score, selection, unit, within.get(cell.table, {}))


def judge(comparison: Comparison, differences: np.ndarray) -> tuple[float, str]:
    """The share of replicated differences that fulfil the relation, and the verdict.

    The claim holds when the whole 95 % interval of left - right fulfils it, and does not hold when no part does.
    """
    low, high = bootstrap.interval(differences)
    if comparison.relation == "less":
        differences, low, high = -differences, -high, -low
    if comparison.relation == "close":
        fulfilled = np.abs(differences) <= comparison.margin
        holds, fails = max(-low, high) <= comparison.margin, low > comparison.margin or high < -comparison.margin
    else:
        fulfilled = differences > comparison.margin
        holds, fails = low > comparison.margin, high <= comparison.margin
    return float(fulfilled.mean()), "holds" if holds else "does not hold" if fails else "undecided"


def printed_difference(claim: Claim, published: Published) -> str:
    """The difference that the paper prints, or that of the cells which it prints."""
    if claim.published is not None:
        return str(claim.published)
    values, places = [], 0
    for cell in (claim.compare.left, claim.compare.right):
        if isinstance(cell, CellAt):
            line = published.get((cell.table, Place(cell.group, cell.row, cell.column)))
            if line is None:
                return ""
            values.append(float(line["value"]))
            places = max(places, len(line["value"].partition(".")[2]))
        else:
            values.append(cell)
    return f"{values[0] - values[1]:.{places}f}"


def checked_claim(
    claim: Claim,
    tables: Mapping[str, Table],
    evidence: Evidence,
    within: Within,
    published: Published,
    where: str,
    counts: Mapping[str, Mapping[str, int]],
) -> dict[str, str]:
    """The line of a claim; `counts` are the clips that the paper had, by experiment and split."""
    line = {"claim": claim.id, "text": claim.text, "published": printed_difference(claim, published)}
    compared = claim.compare.left, claim.compare.right
    sides = [side(cell, tables, within, where) for cell in compared if isinstance(cell, CellAt)]
    for one in sides:
        if one.score.experiment not in evidence.scored:
            note = f"experiment {one.score.experiment} was not scored"
            return {**line, "verdict": "not collected", "note": note}
    estimate, clips = evidence.measured(*sides)
    if estimate is None:
        return {**line, "verdict": "unavailable", "note": clips}
    constant = 0.0 if isinstance(claim.compare.right, CellAt) else claim.compare.right
    value, differences = estimate.value - constant, estimate.replicates - constant
    low, high = bootstrap.interval(differences)
    probability, verdict = judge(claim.compare, differences[~np.isnan(differences)])
    margin = (
        f" by more than {claim.compare.margin:g}" if claim.compare.relation != "close" and claim.compare.margin else ""
    )
    rule = (
        f"within {claim.compare.margin:g}" if claim.compare.relation == "close" else f"{claim.compare.relation}{margin}"
    )
    paper_clips = counts.get(sides[0].score.experiment, {}).get(sides[0].score.split)
    seeds = describe(sides[0].selection, len(evidence.scored[sides[0].score.experiment].seeds))
    return {
        **line,
        "measured": number(value),
        "ci_low": number(low),
        "ci_high": number(high),
        "probability": number(probability),
        "verdict": verdict,
        **resolution(claim.compare, low, high, estimate.items, paper_clips, line["published"]),
        "note": f"checked: {rule}; {seeds}; differences {clips or 'paired over clips'}",
    }


def checked_report(claim: Claim, facts: Sequence[Fact], job: CheckClaims, printed: Published) -> dict[str, str]:
    """The line of a claim about what training jobs report, bootstrapped over seeds."""
    line = {"claim": claim.id, "text": claim.text, "published": printed_difference(claim, printed)}
    constant = 0.0 if isinstance(claim.compare.right, CellAt) else claim.compare.right
    reported = {fact.experiment: reports(job.facts.get(fact.experiment, []), facts) for fact in facts}
    found = difference(facts, reported, constant, job.replicates_of_seeds)
    if found is None:
        return {**line, "verdict": "not collected", "note": f"the training jobs report no '{facts[0].key}'"}
    value, differences, seeds = found
    low, high = bootstrap.interval(differences)
    probability, verdict = judge(claim.compare, differences)
    measured = {"measured": number(value), "ci_low": number(low), "ci_high": number(high)}
    note = f"mean over all {seeds} seeds; {METHOD}"
    return {**line, **measured, "probability": number(probability), "verdict": verdict, "note": note}


def check_claims(job: CheckClaims, output: Path) -> None:
    """Checks every claim of a paper, the differences bootstrapped in pairs."""
    evidence, printed = Evidence(job.replicates, job.counts, job.manifests), read_published(job.published)
    within = {name: evidence.common(table.scores()) for name, table in job.tables.items() if job.common_clips}
    differs = {name: differing(rests_on) for name, rests_on in job.basis.items()}
    lines = []
    for claim in job.claims.claims:
        if facts := claim.facts(job.tables):
            line = checked_report(claim, facts, job, printed)
        else:
            where = f"claim {claim.id}"
            line = checked_claim(claim, job.tables, evidence, within, printed, where, job.paper_counts)
        sides = [side.table for side in (claim.compare.left, claim.compare.right) if isinstance(side, CellAt)]
        why = "; ".join(dict.fromkeys(differs[name] for name in sides if differs.get(name)))
        lines.append({"paper": job.paper, "scale": job.scale, **line, "differs": why})
    write_csv(output, HEADER, [{name: line.get(name, "") for name in HEADER} for line in lines])
