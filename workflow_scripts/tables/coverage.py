"""Coverage: of every split, what each stage was asked for and got, and why not, beside the counts a paper reports."""

import json
import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.parquet import read_parquet
from workflow_scripts.shards import Status, atomic
from workflow_scripts.tables.plan import CountClips, CountCoverage, Ledger

log = logging.getLogger(__name__)


def count(ledger: Ledger, scale: str) -> list[dict[str, str | int | None]]:
    """One row a split: clips asked for, got, and not got by reason; of a later stage only where clips came in."""
    split_of = "split" if ledger.manifest else "part"
    sources = [ledger.manifest] if ledger.manifest else ledger.clips
    splits = pc.unique(together(sources, [split_of])[split_of]).to_pylist()
    found = states(ledger).to_pylist()
    rows: list[dict[str, str | int | None]] = []
    for split in splits:
        own = [row for row in found if row[split_of] == split]
        got = {status.value: sum(row["count_all"] for row in own if row["status"] == status) for status in Status}
        lost: Counter[str] = Counter()
        for row in own:
            if row["status"] != Status.OK:
                lost[str(row["reason"])] += row["count_all"]
        if ledger.before and not own:
            continue
        about = {"paper": ledger.paper, "corpus": ledger.corpus, "split": split}
        counts = {"published": ledger.published.get(split), "asked": sum(got.values())}
        most = sorted(lost.items(), key=lambda item: (-item[1], item[0]))
        reasons = "; ".join(f"{reason}: {number}" for reason, number in most)
        rows.append(about | counts | got | {"reasons": reasons, "scale": scale})
    return rows


def states(ledger: Ledger) -> pa.Table:
    """How many clips of each split have a status and a reason, of those that came in; nothing else is read of them."""
    if ledger.manifest is None:
        return grouped(together(ledger.clips, ["part", "status", "reason"]), "part")
    found = together(ledger.clips, ["clip_id", "status", "reason"])
    if ledger.before:
        came = together(ledger.before, ["clip_id"], pc.field("status") == Status.OK.value)
        found = found.join(came, "clip_id", join_type="left semi")
    return grouped(found.join(read_parquet(ledger.manifest, ["clip_id", "split"]), "clip_id"), "split")


def together(paths: Iterable[Path], columns: list[str], rows: pc.Expression | None = None) -> pa.Table:
    """Some columns of several files, with no more about them than their types."""
    tables = [read_parquet(path, columns, rows) for path in paths]
    return pa.concat_tables([table.replace_schema_metadata(None) for table in tables], promote_options="permissive")


def grouped(rows: pa.Table, split: str) -> pa.Table:
    return rows.group_by([split, "status", "reason"]).aggregate([([], "count_all")])


def count_clips(job: CountClips, output: Path, values: Path) -> None:
    """Counts what could be had of every split: a table, and the clips got by corpus and split as JSON."""
    counted = {ledger.name: count(ledger, job.scale) for ledger in job.ledgers}
    write_table(counted.values(), output)
    got = {name: {row["split"]: row["ok"] for row in rows} for name, rows in counted.items()}
    with atomic(values) as temporary:
        temporary.write_text(json.dumps(got), encoding="utf-8")


def count_coverage(job: CountCoverage, output: Path) -> None:
    """Counts what could be had of every split, and what the stages after it made of that."""
    write_table([count(ledger, job.scale) for ledger in job.ledgers], output)


def write_table(counted: Iterable[list[dict[str, str | int | None]]], output: Path) -> None:
    """The rows as CSV; where something is missing, the log says it too."""
    table = pd.DataFrame([row for rows in counted for row in rows])
    table["published"] = table["published"].astype("Int64")
    with atomic(output) as temporary:
        table.to_csv(temporary, index=False)
    for row in table.itertuples():
        if row.ok != row.asked:
            log.info("%s, %s: %d of %d clips (%s)", row.corpus, row.split, row.ok, row.asked, row.reasons)
