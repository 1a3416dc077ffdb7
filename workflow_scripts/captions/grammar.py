"""The form of a temporal caption (Temp4Cap, section 2.2: "event description: event order").

    caption := item ("; " item){0,7}        item  := description ": " order
    description := 1 to 12 words of [a-z0-9'-], not digits only
    order := "1" … "8" | "background"

Orders of the foreground start at 1 without gaps; events at the same time share one. "background" is a sound that lasts
through the clip.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from workflow_scripts.settings.temporal import Eligibility

MAX_EVENTS, MAX_WORDS = 8, 12
BACKGROUND = "background"
WORD = r"[a-z0-9'-]+"
DESCRIPTION = re.compile(rf"{WORD}(?: {WORD}){{0,{MAX_WORDS - 1}}}")

Item = tuple[str, int | None]  # description and order; None is the background


class GrammarError(ValueError):
    """A text or list of events is no temporal caption; says why, in words that a language model can use."""


@dataclass(frozen=True)
class TemporalCaption:
    """Events in the order in which they are written, each with its order in time (None: background)."""

    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.items) <= MAX_EVENTS:
            raise GrammarError(f"there must be 1 to {MAX_EVENTS} events, not {len(self.items)}")
        for description, _ in self.items:
            if not DESCRIPTION.fullmatch(description) or not re.search("[a-z]", description):
                raise GrammarError(f"'{description}' is not a phrase of 1 to {MAX_WORDS} lower-case words")
        ranks = sorted({order for _, order in self.items if order is not None})
        if ranks != list(range(1, len(ranks) + 1)):
            raise GrammarError(f"the orders must be 1, 2, … without gaps, not {ranks}")

    @classmethod
    def of(cls, items: Iterable[tuple[str, int | None]]) -> Self:
        """Events with any integers for orders: cleaned, dense-ranked, doubles dropped, cut at the eighth."""
        rough = list(dict.fromkeys((clean(text), order) for text, order in items))[:MAX_EVENTS]
        ranks = {order: rank for rank, order in enumerate(sorted({o for _, o in rough if o is not None}), start=1)}
        return cls(tuple((text, None if order is None else ranks[order]) for text, order in rough))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads what `str` writes; anything else raises `GrammarError`."""
        items: list[Item] = []
        for part in text.split("; "):
            description, separator, order = part.rpartition(": ")
            if not separator or not re.fullmatch(rf"[1-9]|{BACKGROUND}", order):
                raise GrammarError(f"'{part}' is not 'description: order'")
            items.append((description, None if order == BACKGROUND else int(order)))
        return cls(tuple(items))

    def __str__(self) -> str:
        return "; ".join(f"{text}: {BACKGROUND if order is None else order}" for text, order in self.items)

    @cached_property
    def descriptions(self) -> tuple[str, ...]:
        """The events without their orders."""
        return tuple(text for text, _ in self.items)

    @property
    def orders(self) -> int:
        """The number of distinct orders in the foreground."""
        return len({order for _, order in self.items if order is not None})

    def eligible(self, by: Eligibility) -> bool:
        """Whether negatives can be drawn: two events at least, or two distinct orders of the foreground."""
        return (len(self.items) if by == "events" else self.orders) >= 2


def clean(text: str) -> str:
    """The text in lower case with the characters of a description only; accents go, other characters part words."""
    plain = unicodedata.normalize("NFKD", text.lower().replace("’", "'"))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    words = (word.strip("'-") for word in re.sub(r"[^a-z0-9'-]+", " ", plain).split())
    return " ".join(word for word in words if word)
