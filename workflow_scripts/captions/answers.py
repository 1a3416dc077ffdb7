"""Answers of language models: read with suspicion, and believed only as far as the caption bears them out."""

import json
from collections import Counter
from typing import Any

from workflow_scripts.captions.grammar import BACKGROUND, GrammarError, TemporalCaption, clean
from workflow_scripts.captions.words import content

SUPPORT = 0.6  # share of the content words of a description that must stand in the caption


def read_answer(answer: str, caption: str) -> TemporalCaption:
    """The temporal caption in an answer: a JSON array of {"event", "order"}, whatever is said around it.

    Raises `GrammarError` if there is none, or if it tells of sounds that the caption does not mention.
    """
    start, end = answer.find("["), answer.rfind("]")
    if start < 0 or end < start:
        raise GrammarError("there is no complete JSON array in the answer")
    try:
        events = json.loads(answer[start : end + 1])
    except (json.JSONDecodeError, RecursionError):
        raise GrammarError("the array is not valid JSON") from None
    temporal = TemporalCaption.of(event_of(event) for event in events)
    if len(temporal.items) > 1 and not temporal.orders:
        raise GrammarError("not all events can be background: the others need integer orders")
    refuse_inventions(temporal, caption)
    return temporal


def event_of(event: Any) -> tuple[str, int | None]:
    """Description and order of one element of the array."""
    if not isinstance(event, dict) or not isinstance(event.get("event"), str) or "order" not in event:
        raise GrammarError('every element must be {"event": "...", "order": ...}')
    order = event["order"]
    if isinstance(order, str):
        order = order.strip().lower()
        if order == BACKGROUND:
            return event["event"], None
        if order.isascii() and order.isdigit() and len(order) < 4:
            order = int(order)
    if not isinstance(order, int) or isinstance(order, bool):
        raise GrammarError(f'an order must be an integer or "{BACKGROUND}"')
    return event["event"], order


def refuse_inventions(temporal: TemporalCaption, caption: str) -> None:
    """Raises `GrammarError` for an event of which the caption does not tell, or not as often."""
    words = Counter(content(clean(caption)))
    for description, times in Counter(temporal.descriptions).items():
        stems = content(description)
        if not stems:
            raise GrammarError(f"'{description}' names no sound")
        if sum(stem in words for stem in stems) < SUPPORT * len(stems):
            raise GrammarError(f"'{description}' is not in the caption")
        if times > max(words[stem] for stem in stems):
            raise GrammarError(f"'{description}' stands more often in the answer than in the caption")
