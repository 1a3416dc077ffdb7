"""Statistics of temporal captions: who made them, how many tell of several events, and how many are true."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa

from workflow_scripts.captions.grammar import TemporalCaption
from workflow_scripts.captions.interface import Source
from workflow_scripts.captions.negatives import story
from workflow_scripts.captions.rewriting import own_sources
from workflow_scripts.captions.rules import split_caption
from workflow_scripts.corpora.truth import without_article
from workflow_scripts.errors import UserError
from workflow_scripts.features.interface import FeatureReducer
from workflow_scripts.parquet import parquet_schema, read_parquet
from workflow_scripts.progress import progress
from workflow_scripts.settings.temporal import Ties
from workflow_scripts.shards import Row, Status, atomic, read

Truth = dict[str, list[str | None]]


class Reducer(FeatureReducer):
    """Shares are 0 … 1; a share of nothing is null.

    `several_orders` stands beside Temp4Cap's 79 % of Clotho's and 89 % of AudioCaps' training samples (section 3.1).
    `fallback` is the share of the captions asked for to which the backend itself gave nothing valid. `exact` compares
    with the truth, where it is known, the answers of the backend (`llm`; null where that is the rules) and what the
    rules make of the very captions that it answered. All descriptions and orders must be right; articles do not count.
    """

    suffix = ".json"

    def reduce(self, shards: list[Path], manifest: Path, assets: dict[str, Path], output: Path) -> None:
        """Counts and writes; other shards than those of one feature of temporal captions are a `UserError`."""
        backend, ties = settings_of(shards)
        own, truth = own_sources(backend), known(manifest)
        captions, events, orders, exact = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
        clips: set[str] = set()
        for shard in progress(shards, "shards", len(shards), "shard"):
            for row in read(shard):
                if row["status"] != Status.OK:
                    continue
                source = row["source"]
                clips.add(row["clip_id"])
                captions[source] += 1
                events[source] += row["events"] >= 2
                orders[source] += row["orders"] >= 2
                if source in own or backend == "rules":
                    exact.update(compared(row, truth, ties))
        total = captions.total()
        asked = total - captions["unasked"]
        statistics: dict[str, Any] = {
            "captions": total,
            "clips": len(clips),
            "sources": {source: share(captions[source], total) for source in get_args(Source)},
            "asked": asked,
            "fallback": share(asked - sum(captions[source] for source in own), asked),
            "several_events": share(events.total(), total),
            "several_orders": share(orders.total(), total),
            "by_source": {
                source: {
                    "several_events": share(events[source], captions[source]),
                    "several_orders": share(orders[source], captions[source]),
                }
                for source in get_args(Source)
            },
            "exact": {
                "llm": None if backend == "rules" else share(exact["row"], exact["all"]),
                "rules": share(exact["rules"], exact["all"]),
                "llm_n": 0 if backend == "rules" else exact["all"],
                "rules_n": exact["all"],
            },
        }
        with atomic(output) as temporary:
            temporary.write_text(json.dumps(statistics, indent=1) + "\n", encoding="utf-8")


def settings_of(shards: list[Path]) -> tuple[str, Ties]:
    """The backend that was asked and the rule for ties, which stand in the metadata of every shard."""
    found = set()
    for shard in shards:
        metadata = parquet_schema(shard).metadata or {}
        if not {b"backend", b"ties"} <= metadata.keys():
            raise UserError(f"{shard}: does not name its backend; give the shards of temporal captions")
        found.add((metadata[b"backend"].decode(), metadata[b"ties"].decode()))
    if len(found) != 1:
        raise UserError(f"the shards of temporal captions were made with {len(found)} settings; rewrite all with one")
    backend, ties = found.pop()
    return backend, "mention" if ties == "mention" else "simultaneous"


def known(manifest: Path) -> Truth:
    """The true temporal captions of each clip about whose captions they are known."""
    try:
        table = read_parquet(manifest, ["clip_id", "temporal"])
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{manifest}: not a readable manifest with a column 'temporal' ({error})") from None
    clips = zip(table["clip_id"].to_pylist(), table["temporal"].to_pylist(), strict=True)
    return {clip_id: captions for clip_id, captions in clips if captions is not None}


def compared(row: Row, truth: Truth, ties: Ties) -> dict[str, int]:
    """Of a row about whose caption the truth is known (`all`): whether it, and what the rules make of it, are true."""
    true = truth[row["clip_id"]][row["caption_index"]] if row["clip_id"] in truth else None
    if true is None:
        return {}
    split, expected = split_caption(row["caption"], ties), normalised_story(TemporalCaption.parse(true))
    return {
        "all": 1,
        "row": normalised_story(TemporalCaption.parse(row["temporal"])) == expected,
        "rules": split is not None and normalised_story(split) == expected,
    }


def normalised_story(caption: TemporalCaption) -> object:
    """What a caption tells, whatever the articles before its descriptions."""
    return story(TemporalCaption.of((without_article(text), order) for text, order in caption.items))


def share(part: int, total: int) -> float | None:
    """A share; of nothing there is none."""
    return part / total if total else None
