"""Coverage: of every split, how many clips were asked for and got, and why not, beside the counts a paper reports."""

import json
import logging
from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from workflow_scripts.errors import run
from workflow_scripts.settings.base import Strict, from_argument
from workflow_scripts.shards import Status, atomic, read

log = logging.getLogger(__name__)


class Ledger(Strict):
    """One corpus of one paper, with the paper's name for it: its files, and how many clips a split the paper had."""

    paper: str
    name: str
    corpus: str
    manifest: Path | None  # null: the ledger is of record files, which state their part themselves
    clips: list[Path]
    published: dict[str, int]


class Coverage(Strict):
    """What is counted."""

    scale: str
    ledgers: list[Ledger]


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


def main(
    definition: Annotated[str, typer.Option(help="JSON: the ledgers to count.")],
    output: Annotated[Path, typer.Option(help="The CSV file to write.")],
    values: Annotated[Path, typer.Option(help="The JSON file of the clips got, by corpus and split.")],
) -> None:
    """Count what there is of every split."""
    wanted = Coverage.check(from_argument(definition), "--definition")
    counted = {ledger.name: count(ledger, wanted.scale) for ledger in wanted.ledgers}
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


if __name__ == "__main__":
    run(lambda: typer.run(main))
