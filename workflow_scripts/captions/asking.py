"""Asking a language model: a caption, once more if its answer is not valid, else the rules."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import Field

from workflow_scripts.captions.answers import read_answer
from workflow_scripts.captions.grammar import GrammarError
from workflow_scripts.captions.interface import CaptionBackend, Rewriter, Rewritten
from workflow_scripts.captions.prompt import Message, chat, retry, version
from workflow_scripts.captions.rewriting import by_rules, unasked
from workflow_scripts.captions.store import Answer, Store
from workflow_scripts.settings.base import MANNER
from workflow_scripts.settings.temporal import Ties
from workflow_scripts.shards import ClipError

log = logging.getLogger(__name__)


class Model(Protocol):
    """A language model: answers chats, several at a time."""

    name: str  # identifies the model among the stored answers

    def ask(self, chats: Sequence[list[Message]]) -> list[str | None]:
        """The answer to each chat, None where this one is refused; a model that is out of reach is a `UserError`."""


class LanguageModel(CaptionBackend):
    """A backend that asks a language model."""

    max_tokens: int = Field(160, ge=16, description="longest answer; a longer one is cut off and thereby malformed")
    max_events: int = Field(8, ge=1, le=8, description="most events of an answer, as far as it is constrained")
    # A manner: an answer is stored by what was asked, whatever was asked beside it.
    batch: Annotated[int, MANNER] = Field(16, ge=1, description="captions asked for at the same time")
    limit: int | None = Field(
        None,
        ge=1,
        description="of each shard, at most so many distinct captions are asked for, first captions of clips before "
        "second ones; the others go to the rules; null: all are asked for",
    )

    @abstractmethod
    def load(self, ties: Ties, assets: dict[str, Path], device: str) -> Model:
        """The model, ready to be asked."""

    def rewriter(self, ties: Ties, store: Store, assets: dict[str, Path], device: str) -> Rewriter:
        return Asker(self.load(ties, assets, device), self, ties, store)


class Asker:
    """Asks a language model for what the store does not hold yet."""

    def __init__(self, model: Model, settings: LanguageModel, ties: Ties, store: Store) -> None:
        self._model, self._settings, self._ties, self._store = model, settings, ties, store
        self._version = version(ties, settings.max_events, settings.max_tokens)
        self._within: set[str] = set()  # the first distinct captions up to the limit, of all calls

    def __call__(self, captions: list[str]) -> list[Rewritten | ClipError]:
        """The captions rewritten, in their order; equal ones are asked for once, those beyond the limit not at all."""
        asked = [caption for caption in captions if self._admitted(caption)]
        done = {caption: self._stored(caption) for caption in asked}
        first = self._ask({caption: chat(caption, self._ties) for caption in done if not done[caption]})
        wrong = {}
        for caption, answer in first:
            try:
                done[caption] = self._accept(caption, Answer(answer, "llm"))
            except GrammarError as error:
                wrong[caption] = retry(caption, self._ties, answer, str(error))
        for caption, answer in self._ask(wrong):
            try:
                done[caption] = self._accept(caption, Answer(answer, "retry"))
            except GrammarError as error:
                log.debug("%r: no valid answer (%s)", caption, error)
        return [
            (done[caption] or by_rules(caption, self._ties)) if caption in done else unasked(caption, self._ties)
            for caption in captions
        ]

    def _admitted(self, caption: str) -> bool:
        """Whether a caption is within the limit; what the store holds makes no difference, so a rerun asks the same."""
        if self._settings.limit is None or len(self._within) < self._settings.limit:
            self._within.add(caption)
        return caption in self._within

    def _ask(self, chats: dict[str, list[Message]]) -> Iterator[tuple[str, str]]:
        """Captions with the answers that the model gives, a batch at a time."""
        names = list(chats)
        for start in range(0, len(names), self._settings.batch):
            group = names[start : start + self._settings.batch]
            given = self._model.ask([chats[name] for name in group])
            yield from ((name, answer) for name, answer in zip(group, given, strict=True) if answer is not None)

    def _stored(self, caption: str) -> Rewritten | None:
        """The stored answer, read anew."""
        answer = self._store.get(self._model.name, self._version, caption)
        try:
            return Rewritten(read_answer(answer.text, caption), answer.source) if answer else None
        except GrammarError:
            return None  # valid when it was stored, and not by today's rules

    def _accept(self, caption: str, answer: Answer) -> Rewritten:
        """A new answer, stored if it is valid; raises `GrammarError` otherwise."""
        rewritten = Rewritten(read_answer(answer.text, caption), answer.source)
        self._store.add(self._model.name, self._version, caption, answer)
        return rewritten
