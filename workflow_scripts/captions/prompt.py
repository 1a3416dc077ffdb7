"""What a language model is asked (Temp4Cap, section 2.2; the wording of its figure 2 is not known, this is our own)."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

from workflow_scripts.captions.grammar import MAX_WORDS
from workflow_scripts.settings.temporal import Ties


class Message(TypedDict):
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


UNCUED = {
    "mention": "number the events in the order in which they are mentioned; give equal integers only when the caption "
    'says that they happen together ("while", "as", "at the same time")',
    "simultaneous": "give the events equal integers",
}
SYSTEM = """You convert one audio caption into a list of its sound events with their temporal order. Rules:
(1) Use only sounds that the caption states, and keep its wording: a short phrase of noun and verb.
(2) Never invent, merge or translate events.
(3) The order is an integer from 1. Later events get larger integers; events at the same time share one integer.
(4) Words such as then, after, followed by, before, finally fix the order; "A after B" means that B precedes A.
(5) Sounds described as continuous, ambient or in the background or the distance throughout get "background".
(6) Without a cue of time ("and", commas, "with") {uncued}.
(7) Output one JSON array and nothing else."""
SHOTS: list[tuple[str, list[tuple[str, int | str]]]] = [
    ("a dog barks then a man speaks", [("dog barks", 1), ("man speaks", 2)]),
    ("a door closes after a woman laughs", [("woman laughs", 1), ("door closes", 2)]),
    ("birds chirp while a car passes in the distance", [("birds chirp", 1), ("car passes", "background")]),
    (
        "rain falls continuously as thunder rumbles twice followed by a siren",
        [("rain falls", "background"), ("thunder rumbles twice", 1), ("siren", 2)],
    ),
    ("an engine idles", [("engine idles", 1)]),
]
RETRY = "That cannot be used: {error}. Answer again, with one JSON array and nothing else."


def answer_of(events: Sequence[tuple[str, int | str]]) -> str:
    """Events as a model should answer them."""
    return json.dumps([{"event": text, "order": order} for text, order in events], separators=(",", ":"))


def preamble(ties: Ties) -> list[Message]:
    """The turns that every chat begins with."""
    turns: list[Message] = [{"role": "system", "content": SYSTEM.format(uncued=UNCUED[ties])}]
    for caption, events in SHOTS:
        turns.append({"role": "user", "content": caption})
        turns.append({"role": "assistant", "content": answer_of(events)})
    return turns


def chat(caption: str, ties: Ties) -> list[Message]:
    """The chat that asks for one caption."""
    return [*preamble(ties), {"role": "user", "content": caption}]


def retry(caption: str, ties: Ties, answer: str, error: str) -> list[Message]:
    """The chat that asks again, telling what was wrong with the first answer."""
    said: Message = {"role": "assistant", "content": answer}
    return [*chat(caption, ties), said, {"role": "user", "content": RETRY.format(error=error)}]


def schema(max_events: int) -> dict[str, Any]:
    """The JSON schema of an answer: an array of 1 to `max_events` events."""
    word = "[a-z0-9'-]{1,20}"
    order = {"enum": [*range(1, max_events + 1), "background"]}
    event = {"type": "string", "pattern": f"^{word}( {word}){{0,{MAX_WORDS - 1}}}$"}
    return {
        "type": "array",
        "minItems": 1,
        "maxItems": max_events,
        "items": {
            "type": "object",
            "properties": {"event": event, "order": order},
            "required": ["event", "order"],
            "additionalProperties": False,
        },
    }


def version(ties: Ties, max_events: int, max_tokens: int) -> str:
    """Identifies all that goes into an answer beside model and caption."""
    asked = json.dumps([preamble(ties), RETRY, schema(max_events), max_tokens])
    return hashlib.sha256(asked.encode()).hexdigest()[:12]
