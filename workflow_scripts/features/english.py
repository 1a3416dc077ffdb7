"""Which words and which texts are English.

Words: the English word list of pyspellchecker, 160,000 words in lower case. It stands in the place of the dictionary
en_US that the authors' scripts of YouTube-8M-Text ask; names of brands and games are in neither.

Texts: py3langid's naive Bayes model, told to choose among a few languages that are written in Latin letters. Titles are
short and full of names, which no language owns: so a text counts as English unless English is next to impossible.
"""

import unicodedata
from collections.abc import Container
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# Those of the most speakers that are written in Latin letters; to the rarer ones the model takes short English texts.
LANGUAGES = ("en", "de", "es", "fr", "id", "it", "nl", "pl", "pt", "tr", "vi")
LEAST = 0.05  # of 21 titles of English videos 2 lie below, of 26 German, Spanish, French and other ones 2 above


@lru_cache(maxsize=1 << 12)
def is_latin(letter: str) -> bool:
    """Whether a letter is of the Latin script."""
    return unicodedata.name(letter, "").startswith(("LATIN", "FULLWIDTH LATIN"))


def written_in_latin(text: str) -> bool:
    """Whether a text has no letters but Latin ones (one of digits only has none)."""
    return all(is_latin(character) for character in text if character.isalpha())


@lru_cache(maxsize=1)
def english_words() -> Container[str]:
    """The words of the list, in lower case."""
    from spellchecker import SpellChecker

    return frozenset(SpellChecker(language="en").word_frequency.words())


@lru_cache(maxsize=1)
def identifier() -> "LanguageIdentifier":
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    found = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    found.set_languages(LANGUAGES)
    return found


def is_english(text: str, least: float = LEAST) -> bool:
    """Whether a text in Latin letters is English with at least this probability; one without letters may be."""
    letters = " ".join(word for word in text.lower().split() if not word.isdigit())
    return not letters or dict(identifier().rank(letters))["en"] >= least
