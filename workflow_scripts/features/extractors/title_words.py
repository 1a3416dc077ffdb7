"""The words of titles and keywords that have a word vector, as they are and without the words of the video's labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from workflow_scripts.features.english import LEAST, english_words, is_english
from workflow_scripts.features.interface import TextExtractor
from workflow_scripts.features.words import (
    MIN_LENGTH,
    keyword_phrase,
    keyword_words,
    title_phrase,
    title_words,
    vectorised,
    why_no_words,
    without_phrases,
    without_words,
)
from workflow_scripts.formats.word_vectors import ASSETS, Kind, open_vectors
from workflow_scripts.shards import Row

WORDS = pa.list_(pa.string())


class Extractor(TextExtractor):
    """Words in their order; a text without any leaves an empty list and a reason."""

    vectors: Kind = Field(default="spacy", description="Whose word vectors decide which words are known")
    min_length: int = Field(
        default=MIN_LENGTH, ge=1, description="Shortest keyword kept, characters; 3 as the authors' scripts"
    )
    english_titles: float = Field(
        default=LEAST,
        ge=0,
        le=1,
        description="Probability of English below which a title is dropped; 0, as the authors' scripts: any in Latin "
        "letters stays",
    )
    english_keywords: bool = Field(
        default=True,
        description="Only keyword words of an English word list, as the authors' scripts; false: any in Latin letters",
    )

    label_words: Literal["all", "once"] = Field(
        default="all",
        description="Which occurrences of its labels' words a video's filtered keywords lose: `all`, or each `once` "
        "for every label, as the authors' scripts",
    )

    @property
    def assets(self) -> tuple[str, ...]:
        return ASSETS[self.vectors]

    def columns(self) -> list[pa.Field]:
        lists = ("title", "keywords", "title_filtered", "keywords_filtered")
        return [pa.field(name, WORDS) for name in lists] + [
            pa.field(name, pa.string()) for name in ("title_reason", "keywords_reason")
        ]

    def load(self, assets: dict[str, Path], classes: list[str]) -> Callable[[Row], Row]:
        known = open_vectors(self.vectors, assets)
        title_phrases = [title_phrase(name) for name in classes]
        keyword_phrases = [keyword_phrase(name, self.min_length) for name in classes]

        english = english_words() if self.english_keywords else None

        def words(row: Row) -> Row:
            labels: list[int] = row["labels"] or []
            title, keywords = row["title"] or "", row["keywords"] or []
            in_title, in_keywords = title_words(title), keyword_words(keywords, self.min_length)
            may_be_english = not self.english_titles or is_english(" ".join(in_title), self.english_titles)
            in_title = in_title if may_be_english else []
            left_in_title = without_phrases(in_title, [title_phrases[label] for label in labels])
            of_labels = [keyword_phrases[label] for label in labels]
            left_in_keywords = without_words(in_keywords, of_labels, once=self.label_words == "once")
            found: dict[str, Any] = {
                "title": vectorised(in_title, known),
                "keywords": vectorised(in_keywords, known, english),
                "title_filtered": vectorised(left_in_title, known),
                "keywords_filtered": vectorised(left_in_keywords, known, english),
            }
            listed = english is None or not in_keywords or any(word in english for word in in_keywords)
            why = {
                "title": why_no_words(title, may_be_english),
                "keywords": why_no_words(" ".join(keywords), listed),
            }
            for name, reason in why.items():
                found[f"{name}_reason"] = row.get(f"{name}_reason") or (None if found[name] else str(reason))
            return found

        return words
