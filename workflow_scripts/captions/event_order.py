"""Which events a caption tells in another order than the references of its clip do (Temp4Cap, section 4.1).

The events of a caption are those that its conjunctions separate. Events of two captions are the same if they share
half of the content words of the shorter description; an event is misplaced if it is told before, or after, another one
that the reference has the other way round. Events at the same time, and those of the background, are never misplaced.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from workflow_scripts.captions.grammar import TemporalCaption, clean
from workflow_scripts.captions.rules import split_caption
from workflow_scripts.captions.words import content
from workflow_scripts.settings.temporal import Ties

Mark = Literal["right", "misplaced", "unknown"]

SAME = 0.5  # share of content words that makes two descriptions those of one event


@dataclass(frozen=True)
class Event:
    """An event that a caption tells: where it stands in the caption, and when it is said to be."""

    start: int  # characters of the caption
    end: int
    order: int | None  # None is the background
    mark: Mark  # unknown: the reference does not tell of it


def marked(caption: str, references: Sequence[TemporalCaption]) -> list[Event]:
    """The events of a caption as they stand in it, against the reference of its clip with most of its events."""
    candidate = split_caption(caption)
    if candidate is None:
        return []
    pairings = [pairs(candidate, reference) for reference in references]
    best = max(range(len(references)), key=lambda place: len(pairings[place]), default=None)
    pairing = {} if best is None else pairings[best]
    wrong = set() if best is None else misplaced(candidate, references[best], pairing)
    found = []
    where = spans(caption, candidate.descriptions)
    for place, (span, (_, order)) in enumerate(zip(where, candidate.items, strict=True)):
        if span is not None:
            mark: Mark = "misplaced" if place in wrong else "right" if place in pairing else "unknown"
            found.append(Event(*span, order, mark))
    return sorted(found, key=lambda event: event.start)


def written(captions: Sequence[str], ties: Ties) -> list[TemporalCaption]:
    """What captions themselves tell of the order of their events."""
    return [temporal for caption in captions if (temporal := split_caption(caption, ties)) is not None]


def counts(predictions: Sequence[str], references: Sequence[Sequence[TemporalCaption]], ties: Ties) -> np.ndarray:
    """Of each clip, over all its references, the pairs of events that one sets one after the other: (clips, 3).

    Those that the caption tells in the same order, those that it tells the other way round, and all.
    """
    found = np.zeros((len(predictions), 3))
    for row, caption, told in zip(found, predictions, references, strict=True):
        candidate = split_caption(caption, ties)
        for reference in told:
            row[2] += sum(apart(one, other) != 0 for (_, one), (_, other) in combinations(reference.items, 2))
            if candidate is None:
                continue
            pairing = pairs(candidate, reference)
            for i, j in combinations(pairing, 2):
                ours = apart(candidate.items[i][1], candidate.items[j][1])
                theirs = apart(reference.items[pairing[i]][1], reference.items[pairing[j]][1])
                row[0] += ours * theirs > 0
                row[1] += ours * theirs < 0
    return found


def pairs(candidate: TemporalCaption, reference: TemporalCaption) -> dict[int, int]:
    """The events of `reference` by those of `candidate` that are the same, each used once, the most similar first."""
    rated = sorted(
        (-similarity(ours, theirs), i, j)
        for i, ours in enumerate(candidate.descriptions)
        for j, theirs in enumerate(reference.descriptions)
    )
    paired: dict[int, int] = {}
    for rating, i, j in rated:
        if -rating >= SAME and i not in paired and j not in paired.values():
            paired[i] = j
    return paired


def similarity(ours: str, theirs: str) -> float:
    """The share of the content words of the shorter of two descriptions that the other one has, too."""
    left, right = set(content(ours)), set(content(theirs))
    return len(left & right) / max(min(len(left), len(right)), 1)


def misplaced(candidate: TemporalCaption, reference: TemporalCaption, pairing: dict[int, int]) -> set[int]:
    """The events of `candidate` that stand before or after another one that `reference` has the other way round."""
    wrong = set()
    for i, j in combinations(pairing, 2):
        ours = apart(candidate.items[i][1], candidate.items[j][1])
        theirs = apart(reference.items[pairing[i]][1], reference.items[pairing[j]][1])
        if ours * theirs < 0:
            wrong |= {i, j}
    return wrong


def apart(first: int | None, second: int | None) -> int:
    """How far two orders lie apart, with its sign; not at all if one is the background."""
    return 0 if first is None or second is None else second - first


def spans(caption: str, descriptions: Sequence[str]) -> list[tuple[int, int] | None]:
    """Where each description stands in a caption: first and last character of its words, which may have others between.

    Each word of the caption belongs to one description only; None where a description has no words left.
    """
    words = [(found.start(), found.end(), clean(found[0])) for found in re.finditer(r"[\w'’-]+", caption)]
    free = [True] * len(words)
    found: list[tuple[int, int] | None] = []
    for description in descriptions:
        places = shortest(description.split(), [word if ok else "" for (*_, word), ok in zip(words, free, strict=True)])
        for place in places:
            free[place] = False
        found.append((words[places[0]][0], words[places[-1]][1]) if places else None)
    return found


def shortest(wanted: Sequence[str], words: Sequence[str]) -> list[int]:
    """The places of some words in a text, in their order and as close together as they come; none if one is missing."""
    best: list[int] = []
    for start in range(len(words)):
        places: list[int] = []
        for place in range(start, len(words)):
            if len(places) < len(wanted) and words[place] == wanted[len(places)]:
                places.append(place)
        if len(places) == len(wanted) and (not best or places[-1] - places[0] < best[-1] - best[0]):
            best = places
    return best
