"""Texts as the token numbers that captioners read and write."""

import itertools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from workflow_scripts.captions.grammar import BACKGROUND, MAX_EVENTS, clean
from workflow_scripts.models.caption_decoders import SpecialTokens
from workflow_scripts.models.captioners import BART_BOS, BART_TOKENS

UNKNOWN, SPECIALS = 3, 4  # the number of words that are not known; with padding, start, begin and end there are four
MARKS = (":", ";", *map(str, range(1, MAX_EVENTS + 1)), BACKGROUND)  # of temporal captions


def normal(caption: str, remove_punctuation: bool = True) -> str:
    """A caption in lower case, with single spaces, and without punctuation but within words."""
    return clean(caption) if remove_punctuation else " ".join(caption.lower().split())


class Texts(Protocol):
    """What turns normal captions and temporal ones into numbers, and numbers into captions."""

    tokens: SpecialTokens

    @property
    def size(self) -> int:
        """How many tokens there are."""

    def encode(self, text: str) -> list[int]:
        """All tokens of a text, the last of which ends it."""

    def decode(self, numbers: Iterable[int]) -> str:
        """The caption of the tokens before the end."""


class Words:
    """Words of the training captions, and those of `others`; BART's texts begin with a token of their own."""

    def __init__(self, captions: Iterable[str], tokens: SpecialTokens, others: Sequence[str] = ()) -> None:
        self.tokens = tokens
        self.words = sorted({word for caption in captions for word in split(caption)} | set(others))
        self.numbers = {word: number for number, word in enumerate(self.words, start=SPECIALS)}
        self.begin = [BART_BOS] if tokens == BART_TOKENS else []

    @property
    def size(self) -> int:
        return len(self.words) + SPECIALS

    def encode(self, text: str) -> list[int]:
        return [*self.begin, *(self.numbers.get(word, UNKNOWN) for word in split(text)), self.tokens.end]

    def decode(self, numbers: Iterable[int]) -> str:
        words = (self.words[number - SPECIALS] for number in content(numbers, self.tokens) if number >= SPECIALS)
        return re.sub(r" ([^\w\s])", r"\1", " ".join(words))


class Pieces:
    """The byte pairs of a pretrained BART, in a folder with its vocabulary and merges."""

    tokens = BART_TOKENS

    def __init__(self, folder: Path) -> None:
        from transformers import BartTokenizerFast

        self.tokenizer = BartTokenizerFast.from_pretrained(folder, local_files_only=True)

    @property
    def size(self) -> int:
        return len(self.tokenizer)

    def encode(self, text: str) -> list[int]:
        return [BART_BOS, *self.tokenizer.encode(text, add_special_tokens=False), self.tokens.end]

    def decode(self, numbers: Iterable[int]) -> str:
        text: str = self.tokenizer.decode(content(numbers, self.tokens), skip_special_tokens=True)
        return " ".join(text.lower().split())


def split(text: str) -> list[str]:
    """Words, and what stands between them."""
    return re.findall(r"[\w'-]+|[^\w\s]", text)


def content(numbers: Iterable[int], tokens: SpecialTokens) -> list[int]:
    """The tokens before the end, without those that only begin or fill up."""
    before_end = itertools.takewhile(lambda number: number != tokens.end, numbers)
    return [number for number in before_end if number not in (tokens.pad, BART_BOS)]


def truncate(numbers: list[int], longest: int) -> list[int]:
    """Tokens of a text that is too long: its first ones, and its end."""
    return numbers if len(numbers) <= longest else [*numbers[: longest - 1], numbers[-1]]


def collate(texts: Sequence[list[int]], pad: int) -> Tensor:
    """Token numbers (texts, longest), filled up at the end."""
    width = max(map(len, texts))
    return torch.tensor([[*numbers, *[pad] * (width - len(numbers))] for numbers in texts])
