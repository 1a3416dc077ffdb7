"""Coverage: of every split, how many clips were asked for and got, and why not, beside the counts a paper reports."""

import json
import logging
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd

from workflow_scripts.shards import Status, atomic, read
from workflow_scripts.tables.plan import CountCoverage, Ledger

log = logging.getLogger(__name__)


def count(ledger: Ledger, scale: str) -> list[dict[str, str | int | None]]:
    """One row a split: clips asked for, got, and not got by reason."""
    clip, split_of = ("clip_id", "split") if ledger.manifest else ("name", "part")
    sources = [ledger.manifest] if ledger.manifest else ledger.clips
    splits = {row[clip]: row[split_of] for source in sources for row in read(source, [clip, split_of])}
    states: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for path in ledger.clips:
        for row in read(path, [clip, "status", "reason"]):
            split = splits[row[clip]]
            states[split][row["status"]] += 1
            if row["status"] != Status.OK:
                reasons[split][row["reason"]] += 1
    return [
        {
            "paper": ledger.paper,
            "corpus": ledger.corpus,
            "split": split,
            "published": ledger.published.get(split),
            "asked": states[split].total(),
            **{status.value: states[split][status] for status in Status},
            "reasons": "; ".join(f"{reason}: {number}" for reason, number in reasons[split].most_common()),
            "scale": scale,
        }
        for split in dict.fromkeys(splits.values())
    ]


def count_coverage(job: CountCoverage, output: Path, values: Path) -> None:
    """Counts what there is of every split: a table, and the clips got by corpus and split as JSON."""
    counted = {ledger.name: count(ledger, job.scale) for ledger in job.ledgers}
    table = pd.DataFrame([row for rows in counted.values() for row in rows])
    table["published"] = table["published"].astype("Int64")
    with atomic(output) as temporary:
        table.to_csv(temporary, index=False)
    got = {name: {row["split"]: row["ok"] for row in rows} for name, rows in counted.items()}
    with atomic(values) as temporary:
        temporary.write_text(json.dumps(got), encoding="utf-8")
    for row in table.itertuples():
        if row.ok != row.asked:
            log.info("%s, %s: %d of %d clips (%s)", row.corpus, row.split, row.ok, row.asked, row.reasons)
