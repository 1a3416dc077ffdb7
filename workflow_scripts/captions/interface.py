"""What a backend is that rewrites captions.

A backend is one file in `backends/`, named as users write it (`kind`), with one class `Backend` made from the base
below or, if a language model is asked, from `asking.LanguageModel`. Heavy libraries are imported in its methods only,
because settings are checked while planning.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from pydantic import Field

from workflow_scripts.captions.grammar import TemporalCaption
from workflow_scripts.captions.store import Store
from workflow_scripts.settings.base import Plugin
from workflow_scripts.settings.temporal import Ties
from workflow_scripts.shards import ClipError

Source = Literal["llm", "retry", "precomputed", "rules", "unasked", "fallback"]


class Rewritten(NamedTuple):
    """A temporal caption and who made it."""

    temporal: TemporalCaption
    source: Source


Rewriter = Callable[[list[str]], list[Rewritten | ClipError]]


class CaptionBackend(Plugin, ABC):
    """Settings of a backend and the way to its function."""

    uses_gpu: ClassVar[bool] = False  # whether it is a network that a GPU makes much faster
    kind: str = Field(description="File in `workflow_scripts/captions/backends`; its other keys are that file's")

    @property
    def hub_models(self) -> dict[str, str]:
        """Of each model on the Hugging Face hub that it needs the commit or branch, by the model's name."""
        return {}

    @abstractmethod
    def rewriter(self, ties: Ties, store: Store, assets: dict[str, Path], device: str) -> Rewriter:
        """The function from captions to a temporal caption each, in their order, or what befell a caption.

        `assets` holds a file for each of `assets` and `hub_models`; one that is missing or unfit is a `UserError`, and
        so is a service that does not answer. `store` keeps answers from run to run. `device`, cpu or cuda, is where one
        computes that `uses_gpu`.
        """
