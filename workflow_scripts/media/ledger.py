"""The end of a job of downloads: a ledger of clips that all have an end, or a sentence about those that have none.

A clip has an end if it is `ok` or failed for good; a refusal passes, and the next run asks again.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa

from workflow_scripts.errors import UserError
from workflow_scripts.parquet import parquet_schema
from workflow_scripts.shards import Reason, Row, Status, read, write

TOLD = {"attempts", "fetched_at"}  # columns that say how a clip was asked for, and not what became of it


def ended(row: Row) -> bool:
    """Whether a clip is `ok` or failed for good."""
    return row["reason"] is None or not Reason(row["reason"]).transient


def close(
    output: Path,
    rows: list[Row],
    schema: pa.Schema,
    min_share: float,
    noun: str,
    split: Callable[[Row], str | None],
    rows_a_group: int = 256,
) -> None:
    """Writes the ledger of a shard, and leaves one alone that says the same.

    If in a split (of a row: `split`) fewer than `min_share` of the clips that were not left out have an end, the rows
    go into a file beside it, and a `UserError` says what is missing, so that nothing is made of half a corpus.
    """
    unfinished = output.with_name(f"unfinished-{output.name}")
    if lacking := lacks(rows, min_share, noun, split):
        write(unfinished, rows, schema, rows_a_group)
        raise UserError(
            f"{lacking} could not be asked for or were refused for now; run the same command again, which asks for "
            f"these only, or accept the loss with `download: {{min_share: …}}` in config.yaml (now {min_share:g}); "
            f"what became of each: {unfinished}"
        )
    rows = [{name: row.get(name) for name in schema.names} for row in rows]
    if not (output.exists() and says(output, rows, schema)):
        write(output, rows, schema, rows_a_group)
    unfinished.unlink(missing_ok=True)


def lacks(rows: list[Row], min_share: float, noun: str, split: Callable[[Row], str | None]) -> str:
    """How many of which splits have no end, and why, in words; empty if each has enough."""
    wanted = [row for row in rows if row["status"] != Status.SKIPPED]
    total = Counter(map(split, wanted))
    open_ = {name: [row for row in wanted if split(row) == name and not ended(row)] for name in total}
    return " and ".join(
        f"{len(missing)} of {total[name]} {noun} of {name or 'no split'} ({reasons(missing)})"
        for name, missing in open_.items()
        if total[name] - len(missing) < min_share * total[name]
    )


def reasons(rows: Iterable[Row]) -> str:
    """How often which reason; those that were not asked for after others were refused are told apart."""
    unasked = "not asked after "
    counts = Counter(
        (unasked if (row["detail"] or "").startswith("not asked") else "") + str(row["reason"]) for row in rows
    )
    return ", ".join(f"{reason} {number}" for reason, number in counts.most_common())


def tally(rows: list[Row]) -> str:
    """What is not `ok`, by what can be done about it, in words; empty if all is."""
    kinds = {
        "left out": [row for row in rows if row["status"] == Status.SKIPPED],
        "lost for good": [row for row in rows if row["status"] not in {Status.OK, Status.SKIPPED} and ended(row)],
        "to be asked again": [row for row in rows if not ended(row)],
    }
    return "".join(f"; {kind}: {reasons(found)}" for kind, found in kinds.items() if found)


def says(output: Path, rows: list[Row], schema: pa.Schema) -> bool:
    """Whether a ledger tells the same of all clips: what was refused may have been refused in another way."""
    try:
        same = parquet_schema(output).equals(schema)
    except UserError:  # it is damaged
        return False
    return same and list(map(outcome, read(output))) == list(map(outcome, rows))


def outcome(row: Row) -> Row:
    """What is of interest to whatever is made from a clip."""
    passing = {} if ended(row) else dict.fromkeys(("status", "reason", "detail", "origin"))
    return {name: value for name, value in row.items() if name not in TOLD} | passing
