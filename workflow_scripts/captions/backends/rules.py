"""Captions taken apart at their conjunctions."""

from pathlib import Path

from workflow_scripts.captions.rewriting import Rewriter, by_rules
from workflow_scripts.captions.store import Store
from workflow_scripts.settings.temporal import Rules, Ties


def rewriter(settings: Rules, ties: Ties, store: Store, assets: dict[str, Path]) -> Rewriter:
    """Rewrites captions by the rules alone."""
    return lambda captions: [by_rules(caption, ties) for caption in captions]
