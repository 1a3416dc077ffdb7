"""Captions taken apart at their conjunctions: no model is asked, so every caption gets an answer at once.

A caption is cut at words of time (then, before, after, while …) and at `and`, commas and `with`. What an `and` joins is
one event unless both sides tell of a sound of their own: "a man and a woman speak" stays whole.
"""

import re
import unicodedata
from itertools import pairwise
from typing import NamedTuple

from workflow_scripts.captions.grammar import MAX_WORDS, GrammarError, Item, TemporalCaption, clean
from workflow_scripts.captions.words import SOUNDS, content, stem
from workflow_scripts.settings.temporal import Ties

PHRASES = re.compile(
    r"""(?<![\w'-])(?:
    (?P<whole>such\ as|as\ (?:if|though)|(?:known|used|heard|same|just|such|far|soon|long)\ as
        |one\ after\ (?:another|the\ other)|after\ (?:each\ other|another)|over\ and\ over|again\ and\ again
        |up\ and\ down|back\ and\ forth|on\ and\ off|off\ and\ on|in\ and\ out|to\ and\ fro|here\ and\ there
        |more\ and\ more|(?:\w+er)\ and\ \w+er|filled\ with)
    |(?P<then>then|(?:(?:is|are)\ )?(?:\w+ly\ |soon\ )?followed\ (?:\w+ly\ |soon\ |up\ |closely\ )*(?:by|with)|before
        |prior\ to|until|till|finally|afterwards?|later(?:\ on)?|eventually|subsequently|next(?!\ (?:to|door))|lastly
        |after\ (?:which|that|this|a\ (?:while|moment|pause|bit)|some\ time|a\ few\ (?:seconds|moments))
        |leading\ to|(?:and|which|that|before)\ ends?\ with|ending\ with)
    |(?P<after>(?:(?:shortly|soon|right|just|immediately|directly|moments|seconds)\ )?after
        |following(?=\ (?:a|an|the)\ ))
    |(?P<during>while|whilst|as(?!\ well)|when|whenever|meanwhile|simultaneously|at\ the\ same\ time|at\ once
        |during|amid|amidst|all\ the\ while|in\ unison)
    |(?P<and>and|as\ well\ as|along\ with|together\ with|accompanied\ by|combined\ with|mixed\ with|plus|with|but)
    )(?![\w'-])|(?P<stop>[,.])""",
    re.VERBOSE,
)
TOGETHER = {"at the same time", "simultaneously", "at once", "in unison"}
STRENGTH = ["and", "during", "after", "then"]
BACKGROUND = re.compile(
    r"\b(?:(?:off )?in (?:the )?(?:far |near )?(?:background|distance)|continuous(?:ly)?|constant(?:ly)?|ambien(?:t|ce)"
    r"|throughout|in the back ?ground|background)\b"
)
PLACES = re.compile(r"\b(?:off )?in (?:the )?(?:far |near )?(?:background|distance)\b")
LEADING = {"a", "an", "the", "there", "is", "are", "and", "some", "it", "being", "was", "were", "also", "first"}
TRAILING = {
    "a",
    "an",
    "the",
    "and",
    "with",
    "to",
    "as",
    "while",
    "then",
    "which",
    "that",
    "from",
    "is",
    "are",
    "of",
    "for",
}
STATE_VERB = re.compile(r"\w (?:is|are|was|were)\b")
NOT_VERBS = {stem(word) for word in ("men", "women", "children", "people", "voices", "birds", "dogs", "cats", "adults")}


class Piece(NamedTuple):
    """A stretch of a caption, and what links it to the one before: the kind of link and its words."""

    link: str
    word: str
    text: str


def split_caption(caption: str, ties: Ties = "mention") -> TemporalCaption | None:
    """The events that the conjunctions of a caption tell apart; None if it tells of nothing."""
    pieces = join(inverted(pieces_of(caption)))
    phases: list[list[tuple[Piece, str]]] = [[]]
    current = 0
    for piece in pieces:
        description = phrase(piece.text)
        if not content(description):
            continue
        if piece.link == "then" and phases[current]:
            current = len(phases)
            phases.append([])
        elif piece.link == "after" and phases[current]:
            phases.insert(current, [])
        phases[current].append((piece, description))
    order = 0
    items: list[Item] = []
    for phase in phases:
        for place, (piece, description) in enumerate(phase):
            together = place > 0 and (piece.link == "during" or ties == "simultaneous")
            if background(piece.text):
                items.append((description, None))
                continue
            order += not together or order == 0
            items.append((description, order))
    try:
        return TemporalCaption.of(items)
    except GrammarError:
        return None


def pieces_of(caption: str) -> list[Piece]:
    """A caption cut at all its links; of several links in a row the strongest counts."""
    plain = unicodedata.normalize("NFKC", caption.lower()).replace("’", "'")
    plain = " ".join(
        re.sub(r"[^\w',.-]+", lambda found: " . " if set(found[0]) & set(";:!?()") else " ", plain).split()
    )
    pieces, link, word, start = [], "", "", 0
    for found in PHRASES.finditer(plain):
        kind = found.lastgroup if found.lastgroup != "stop" else "and"
        if found["whole"] or kind is None:
            continue
        if text := clean(plain[start : found.start()]):
            pieces.append(Piece(link, word, text))
            link, word = "", ""
        elif word in TOGETHER and len(pieces) > 1 and pieces[-1].link == "and":  # "A and B at the same time, then C"
            pieces[-1] = pieces[-1]._replace(link="during")
            link, word = "", ""
        link = max(link, kind, key=lambda name: STRENGTH.index(name) if name else -1)
        word = " ".join(filter(None, (word, clean(found[0]))))
        start = found.end()
    if text := clean(plain[start:]):
        pieces.append(Piece(link, word, text))
    elif link not in ("", "and") and len(pieces) > 1:  # "… and a man speaks afterwards", "… at the same time"
        pieces[-1] = pieces[-1]._replace(link="during" if link == "during" else "then")
    return pieces


def inverted(pieces: list[Piece]) -> list[Piece]:
    """Clauses that begin a caption, "After A, B" and its like, as "A then B"."""
    if len(pieces) < 2 or pieces[0].link in ("", "and"):
        return pieces
    word = pieces[0].word.split()[-1]
    link = "after" if word in ("before", "until", "till", "to") else "during" if pieces[0].link == "during" else "then"
    first, second = pieces[0]._replace(link=""), pieces[1]
    return [first, second._replace(link=link if second.link == "and" else second.link), *pieces[2:]]


def join(pieces: list[Piece]) -> list[Piece]:
    """The pieces, those put together again that an `and`, a comma or a `with` parts though they tell of one sound."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and piece.link == "and" and not apart(joined[-1].text, piece):
            last = joined.pop()
            joined.append(last._replace(text=" ".join(filter(None, (last.text, piece.word, piece.text)))))
        else:
            joined.append(piece)
    return joined


def apart(left: str, right: Piece) -> bool:
    """Whether what stands on both sides of an `and`, a comma or a `with` are events of their own."""
    return tells(left) and tells(right.text, alone="with" not in right.word.split())


def tells(text: str, alone: bool = False) -> bool:
    """Whether a stretch of words tells of a sound; `alone`: a verb without a subject does, too."""
    words = [word for word in text.split() if word not in LEADING]
    if background(text) or STATE_VERB.search(text) or any(stem(word) in SOUNDS for word in words):
        return True
    if alone and len(words) == 1:
        return words[0].endswith(("ing", "s", "ed")) and stem(words[0]) not in NOT_VERBS
    return any(verb_after(noun, word) for noun, word in pairwise(words))


def verb_after(before: str, word: str) -> bool:
    """Whether a word that follows another looks like a verb: running, runs (but: a bus), banged."""
    inflected = word.endswith("ing") or (word.endswith("s") and not word.endswith(("ss", "us", "'s")))
    return (inflected or word.endswith("ed")) and len(word) > 3 and not before.endswith("ly") and word not in NOT_VERBS


def background(text: str) -> bool:
    """Whether a sound is said to last, or to be in the background."""
    return BACKGROUND.search(text) is not None


def phrase(text: str) -> str:
    """The words of a piece as a description: no article before it, no loose ends, no place in the background."""
    words = (PLACES.sub(" ", text) if content(PLACES.sub(" ", text)) else text).split()
    while words and words[0] in LEADING:
        words.pop(0)
    words = words[:MAX_WORDS]
    while words and words[-1] in TRAILING:
        words.pop()
    return " ".join(words)
