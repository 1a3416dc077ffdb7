"""What a run says when it has ended: what it made, at which scale, and what became of the claims."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from workflow_scripts.files import read_csv
from workflow_scripts.settings.scale import Scale
from workflow_scripts.tables.plan import front_doors, with_table

FEW = 12  # claims that are told one by one; of more there are only the numbers
OF_SEVERAL = {"holds": "hold", "does not hold": "do not hold"}  # verdicts that are verbs
NAMED = 3  # other files that are named; of more there is only the number
RESULTS = "results"


def closing(scale: Scale, targets: Iterable[str]) -> list[str]:
    """The lines about the `targets` that were asked for, as far as they are results and exist."""
    made = sorted(path for path in map(Path, targets) if path.parts[0] == RESULTS and path.exists())
    doors = {Path(RESULTS, f"{table}.csv"): table for table in front_doors(scale)}
    lines = [door_told(scale, path, doors[path]) for path in made if path in doors]
    everything = scale.result("claims.csv")
    claims = [path for path in made if path.stem.endswith("claims") and path.suffix == ".csv"]
    if everything in made:
        claims = [everything]
    else:
        claims += [path.with_name(f"{path.stem}_claims.csv") for path in made if path in doors]
    for path in dict.fromkeys(path for path in claims if path.exists()):
        lines += claims_told(path)
    others = [str(path) for path in made if path not in doors and path not in claims]
    if others:
        more = f" and {len(others) - NAMED} more files" if len(others) > NAMED else ""
        lines.append(f"also made: {', '.join(others[:NAMED])}{more}")
    return lines


def door_told(scale: Scale, path: Path, table: str) -> str:
    """A front door: of which papers, and where its tables are as printed."""
    papers = ", ".join(with_table(scale, table))
    return (
        f"{path}: {table} of {papers} at the scale {scale.name}; as printed: {scale.result('<paper>', f'{table}.md')}"
    )


def claims_told(path: Path) -> list[str]:
    """How many claims of a file have which verdict and, of a few, each one's in words."""
    claims = [line for _, line in read_csv(path)]
    if not claims:
        return [f"{path}: no claim rests on this table alone"]
    if len(claims) > FEW:
        return [f"{path}: {len(claims)} claims: {tally(claims)}; why, in its column 'power'"]
    each = [f"  {line['paper']}, {line['claim']}: {in_words(line)}" for line in claims]
    return [f"{path}: {len(claims)} claims: {tally(claims)}", *each]


def tally(claims: Iterable[Mapping[str, str]]) -> str:
    """How many lines of claims.csv have which verdict, the commonest first: `10 hold, 8 do not hold, 1 undecided`."""
    counts = Counter(line["verdict"] for line in claims).most_common()
    return ", ".join(f"{n} {verdict if n == 1 else OF_SEVERAL.get(verdict, verdict)}" for verdict, n in counts)


def in_words(line: Mapping[str, str]) -> str:
    """The verdict of a line of claims.csv with its power: `undecided: ±10 points; the paper's gain is 1.1, …`."""
    return ": ".join(filter(None, (line["verdict"], line.get("power"))))
