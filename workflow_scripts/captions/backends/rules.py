"""Captions taken apart at their conjunctions; no model is asked."""

from pathlib import Path

from workflow_scripts.captions.interface import CaptionBackend, Rewriter
from workflow_scripts.captions.rewriting import by_rules
from workflow_scripts.captions.store import Store
from workflow_scripts.settings.temporal import Ties


class Backend(CaptionBackend):
    """The rules alone."""

    def rewriter(self, ties: Ties, store: Store, assets: dict[str, Path], device: str) -> Rewriter:
        return lambda captions: [by_rules(caption, ties) for caption in captions]
