"""What is made of a caption without a language model: the rules, and at last the caption as one event."""

from workflow_scripts.captions.grammar import MAX_WORDS, GrammarError, TemporalCaption, clean
from workflow_scripts.captions.interface import Rewritten, Source
from workflow_scripts.captions.rules import split_caption
from workflow_scripts.settings.temporal import Ties
from workflow_scripts.shards import ClipError, Reason, Status


def own_sources(backend: str) -> set[Source]:
    """The sources that say that a backend itself gave a temporal caption."""
    return {"rules"} if backend == "rules" else {"llm", "retry", "precomputed"}


def by_rules(caption: str, ties: Ties) -> Rewritten | ClipError:
    """What the rules make of a caption, otherwise its first words as the one event."""
    if temporal := split_caption(caption, ties):
        return Rewritten(temporal, "rules")
    try:
        return Rewritten(TemporalCaption.of([(" ".join(clean(caption).split()[:MAX_WORDS]), 1)]), "fallback")
    except GrammarError:
        return ClipError(Status.FAILED, Reason.NO_TEXT, f"there are no words in the caption {caption!r}")


def unasked(caption: str, ties: Ties) -> Rewritten | ClipError:
    """What is made of a caption about which no model is asked."""
    made = by_rules(caption, ties)
    return made._replace(source="unasked") if isinstance(made, Rewritten) else made
