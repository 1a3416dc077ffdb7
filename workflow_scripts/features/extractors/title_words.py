"""The words of titles and keywords that have a word vector, as they are and without the words of the video's labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from workflow_scripts.features.interface import TextExtractor
from workflow_scripts.features.words import (
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
        default=1, ge=1, description="Shortest keyword kept, characters; 3 as the authors' scripts, the paper has none"
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

        def words(row: Row) -> Row:
            labels: list[int] = row["labels"] or []
            title, keywords = row["title"] or "", row["keywords"] or []
            in_title, in_keywords = title_words(title), keyword_words(keywords, self.min_length)
            left_in_title = without_phrases(in_title, [title_phrases[label] for label in labels])
            left_in_keywords = without_words(in_keywords, [keyword_phrases[label] for label in labels])
            found: dict[str, Any] = {
                "title": vectorised(in_title, known),
                "keywords": vectorised(in_keywords, known),
                "title_filtered": vectorised(left_in_title, known),
                "keywords_filtered": vectorised(left_in_keywords, known),
            }
            for name, text in (("title", title), ("keywords", " ".join(keywords))):
                missing = None if found[name] else str(why_no_words(text))
                found[f"{name}_reason"] = row.get(f"{name}_reason") or missing
            return found

        return words
