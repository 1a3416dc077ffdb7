"""Titles and keywords as words: how they are cleaned, which are kept, and how a video's labels are taken out of them.

The rules are those of YouTube-8M-Text (arXiv 1706.05461, section 3.1), where its text is silent those of the authors'
published scripts; a fault of these, a label filter that never removed a keyword, is not repeated.
"""

import unicodedata
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache

from workflow_scripts.features.english import is_latin, written_in_latin
from workflow_scripts.shards import Reason

STOP_WORDS = frozenset({"the", "and"})
MIN_LENGTH = 3  # of a keyword, characters; so the authors' scripts, the paper has none


@lru_cache(maxsize=1 << 12)
def dropped(character: str, digits: bool) -> bool:
    """Whether a character is punctuation or a symbol (Unicode classes P and S) or, if asked, a digit."""
    return unicodedata.category(character)[0] in "PS" or (digits and character.isdigit())


def cleaned(text: str, digits: bool) -> str:
    """The text without punctuation, symbols and, if asked, digits; what they stood between grows together."""
    return "".join(character for character in text if not dropped(character, digits))


def title_words(title: str) -> list[str]:
    """The words of a title in order: only punctuation and symbols go; case, digits and stop words stay."""
    return cleaned(title, digits=False).split()


def keyword_words(keywords: Iterable[str], min_length: int = MIN_LENGTH) -> list[str]:
    """The words of a video's keywords in order, a phrase word by word: lower case, without punctuation, symbols,
    digits, "the" and "and", and without words shorter than `min_length`."""
    texts = (keyword.replace(",", " ") for keyword in keywords)
    words = [word for text in texts for word in cleaned(text, digits=True).lower().split()]
    return [word for word in words if len(word) >= min_length and word not in STOP_WORDS]


def title_phrase(label: str) -> list[str]:
    """The name of a label as `title_words` would leave it in a title, in lower case."""
    return title_words(label.lower())


def keyword_phrase(label: str, min_length: int = MIN_LENGTH) -> list[str]:
    """The name of a label as `keyword_words` would leave it among keywords."""
    return keyword_words([label], min_length)


def without_phrases(words: Sequence[str], phrases: Iterable[Sequence[str]]) -> list[str]:
    """A title's words without every place where a whole phrase stands, in whatever case."""
    lower = [word.lower() for word in words]
    gone: set[int] = set()
    for phrase in phrases:
        for start in range(len(words) - len(phrase) + 1):
            if lower[start : start + len(phrase)] == phrase:
                gone.update(range(start, start + len(phrase)))
    return [word for place, word in enumerate(words) if place not in gone]


def without_words(words: Sequence[str], phrases: Iterable[Sequence[str]], once: bool = False) -> list[str]:
    """A video's keyword words without the words of every phrase all of whose words are among them.

    `once`: only the first occurrence of each goes, for each phrase.
    """
    surplus = Counter(word for phrase in phrases if set(phrase) <= set(words) for word in phrase)
    if not once:
        return [word for word in words if word not in surplus]
    kept = []
    for word in words:
        if surplus[word] > 0:
            surplus[word] -= 1
        else:
            kept.append(word)
    return kept


def overlap(words: Sequence[str], phrases: Iterable[Sequence[str]]) -> float:
    """The share of words that belong to a phrase all of whose words are among them (section 4.3.2), in any case."""
    lower = [word.lower() for word in words]
    known = set(lower)
    present = {word for phrase in phrases if known.issuperset(phrase) for word in phrase}
    return sum(word in present for word in lower) / len(lower)


def vectorised(words: Iterable[str], known: Container[str], english: Container[str] | None = None) -> list[str]:
    """The words that have a vector, as they are or else in lower case, and stand in a list of English ones, if given.

    Those of another script are not English.
    """
    forms = (next((form for form in (word, word.lower()) if form in known), None) for word in words)
    return [form for form in forms if form and written_in_latin(form) and (english is None or form.lower() in english)]


def why_no_words(text: str, english: bool = True) -> Reason:
    """Why a text gave no word with a vector; `english`: no word list or language identifier refused it."""
    letters = [character for character in text if character.isalpha()]
    if letters and not (english and any(map(is_latin, letters))):
        return Reason.NOT_ENGLISH
    return Reason.NO_VECTOR if text.strip() else Reason.NO_TEXT
