"""Checks what a paper concludes against what was measured: a line a claim, in CSV and in Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from workflow_scripts.comparability import beside_the_paper, differing
from workflow_scripts.errors import UserError
from workflow_scripts.metrics import bootstrap
from workflow_scripts.settings.claims import CellAt, Claim, Comparison, Count, LowestOf, Rank, Value
from workflow_scripts.shards import atomic
from workflow_scripts.tables.cells import Place, joined, number, read_published, write_csv
from workflow_scripts.tables.closing import in_words
from workflow_scripts.tables.markdown import escaped
from workflow_scripts.tables.outcomes import FAILS, HOLDS, UNDECIDED, Checker, MissingError, Outcome
from workflow_scripts.tables.plan import CheckClaims
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
Published = Mapping[tuple[str, Place], Mapping[str, str]]


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
