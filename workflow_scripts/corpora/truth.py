"""What is truly heard in composed clips, by caption: a file that only evaluation looks into.

A row is an event of a caption: the clip and the caption's number from 1, `temporal`: 1 if the caption says the order,
the event's kind, its order ("background", or a number from 1), its time in the clip, and the caption's words for it.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.captions.grammar import BACKGROUND, GrammarError, TemporalCaption
from workflow_scripts.corpora.interface import table
from workflow_scripts.errors import UserError

COLUMNS = ("clip_id", "caption", "temporal", "event", "order", "onset", "offset", "wording")
ARTICLE = re.compile(r"^(?:an?|the) ")


def true_captions(path: Path | None) -> dict[str, dict[int, str | None]]:
    """For each clip the true temporal captions by the number of the caption; nothing if there is no file.

    A description is the caption's own words without the article before them. None where the caption does not tell the
    order of several events. What is no such file is a `UserError`.
    """
    if path is None:
        return {}
    events: dict[tuple[str, int], list[dict[str, str]]] = defaultdict(list)
    for line, row in table(path, "the truth about captions", *COLUMNS, kept={"wording"}):
        if not row["caption"].isdecimal():
            raise UserError(f"{path}, line {line}: '{row['caption']}' is no number of a caption")
        events[row["clip_id"], int(row["caption"])].append(row)
    found: dict[str, dict[int, str | None]] = defaultdict(dict)
    for (clip_id, number), rows in events.items():
        try:
            found[clip_id][number] = true_caption(rows)
        except (GrammarError, ValueError) as error:
            raise UserError(f"{path}: caption {number} of '{clip_id}' has no order of events: {error}") from None
    return dict(found)


def true_caption(rows: Sequence[dict[str, str]]) -> str | None:
    """The temporal caption of a caption's events, if it tells their order."""
    if len(rows) > 1 and any(row["temporal"] != "1" for row in rows):
        return None
    orders = (None if row["order"] == BACKGROUND else int(row["order"]) for row in rows)
    return str(TemporalCaption.of(zip((without_article(row["wording"]) for row in rows), orders, strict=True)))


def of_clip(truth: dict[str, dict[int, str | None]], clip_id: str, captions: int) -> list[str | None] | None:
    """One true temporal caption, or None, for each of a clip's captions; None if nothing is known about the clip."""
    if clip_id not in truth:
        return None
    return [truth[clip_id].get(number) for number in range(1, captions + 1)]


def without_article(words: str) -> str:
    """The words without an article before them."""
    return ARTICLE.sub("", words)
