"""Words of titles and keywords, their vectors, and the labels that are taken out of them."""

import gzip
import itertools
import struct
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from composed.text.video_text import OTHER_LANGUAGES
from workflow_scripts.errors import UserError
from workflow_scripts.features.english import english_words, is_english
from workflow_scripts.features.extractors.title_words import Extractor
from workflow_scripts.features.words import (
    keyword_phrase,
    keyword_words,
    overlap,
    title_phrase,
    title_words,
    vectorised,
    why_no_words,
    without_phrases,
    without_words,
)
from workflow_scripts.formats.word_vectors import ASSETS, WordVectors, murmur64, open_vectors
from workflow_scripts.shards import Row

WORD = st.sampled_from(["a", "b", "c", "A", "B"])
TEXT = st.lists(WORD, max_size=8)
PHRASES = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3), max_size=3)


def test_titles_lose_punctuation_and_symbols_only() -> None:
    title = "The “Best” of 2013: Rock & Roll — don't stop ★ (HD)  [Part 2/3] $5"
    assert title_words(title) == ["The", "Best", "of", "2013", "Rock", "Roll", "dont", "stop", "HD", "Part", "23", "5"]


def test_keywords_are_normalised() -> None:
    keywords = ["Rock and Roll", "(The Beatles", "iPhone 5s)", "rock,POP", "2013", "don't", "A♥B"]
    words = ["rock", "roll", "beatles", "iphone", "s", "rock", "pop", "dont", "ab"]
    assert keyword_words(keywords, min_length=1) == words
    assert keyword_words(keywords) == [word for word in words if len(word) > 2]
    assert keyword_words(["1080p", "HD 720p"]) == []


@given(st.lists(st.text()))
def test_what_is_left_of_keywords_needs_no_cleaning(keywords: list[str]) -> None:
    words = keyword_words(keywords)
    assert not any(unicodedata.category(c)[0] in "PSZ" or c.isdigit() for word in words for c in word)
    assert not {"the", "and", ""} & set(words) and all(len(word) > 2 for word in words)
    assert keyword_words(words) == words
    assert keyword_words([" ".join(words)]) == words


@given(st.text())
def test_titles_keep_their_letters(title: str) -> None:
    left = "".join(title_words(title))
    kept = [c for c in title if unicodedata.category(c)[0] not in "PS" and not c.isspace()]
    assert left == "".join(kept)
    assert title_words(" ".join(title_words(title))) == title_words(title)


@pytest.mark.parametrize(
    ("title", "labels", "left"),
    [
        ("My Video Game night: video games", ["Video game"], "My night video games"),
        ("GAME of games, game!", ["Game"], "of games"),
        ("Video of a game", ["Video game"], "Video of a game"),
        ("Call of Duty: Black Ops II", ["Call of Duty", "Black Ops"], "II"),
        ("Tom & Jerry show", ["Tom and Jerry"], "Tom Jerry show"),
        ("Duran Duran live", ["Duran Duran", "★"], "live"),
    ],
)
def test_whole_labels_are_cut_out_of_titles(title: str, labels: list[str], left: str) -> None:
    assert without_phrases(title_words(title), map(title_phrase, labels)) == left.split()


@given(TEXT, PHRASES)
def test_titles_lose_exactly_what_a_label_covers(words: list[str], phrases: list[list[str]]) -> None:
    covered = [False] * len(words)
    lower = " ".join(words).lower()  # all words have one letter: word i stands at 2 i
    for phrase in phrases:
        place = lower.find(" ".join(phrase))
        while place >= 0:
            for word in range(place // 2, place // 2 + len(phrase)):
                covered[word] = True
            place = lower.find(" ".join(phrase), place + 1)
    assert without_phrases(words, phrases) == [w for w, gone in zip(words, covered, strict=True) if not gone]


def test_labels_whose_words_all_occur_are_taken_out_of_keywords() -> None:
    words = keyword_words(["game review", "big video", "game", "guitar", "guitar lesson", "acoustic guitar"])
    left = ["game", "review", "big", "video", "game", "lesson", "acoustic"]
    assert without_words(words, [keyword_phrase("Guitar")]) == left
    left = ["review", "big", "guitar", "guitar", "lesson", "acoustic", "guitar"]
    assert without_words(words, [keyword_phrase("Video game")]) == left
    assert without_words(words, [keyword_phrase("Bass guitar")]) == words
    assert without_words(["tom", "jerry"], [keyword_phrase("Tom and Jerry")]) == []


def test_label_words_can_be_taken_out_once_as_the_authors_scripts_do() -> None:
    words = keyword_words(["guitar", "guitar lesson", "acoustic guitar", "game video", "game"])
    left = ["lesson", "guitar", "acoustic", "guitar", "game", "video", "game"]
    assert Counter(without_words(words, [keyword_phrase("Guitar")], once=True)) == Counter(left)
    twice = [keyword_phrase("Video game"), keyword_phrase("Game")]
    assert Counter(without_words(words, twice, once=True)) == Counter(words[:5])


@given(TEXT, PHRASES)
def test_of_every_present_label_all_words_or_one_of_each_go(words: list[str], phrases: list[list[str]]) -> None:
    left = without_words(words, phrases, once=True)
    present = [phrase for phrase in phrases if all(word in words for word in phrase)]
    expected = Counter(words) - sum(map(Counter, present), Counter())
    assert Counter(left) == expected
    assert left == without_words(words, phrases[::-1], once=True)
    assert without_words(words, phrases) == [word for word in words if word not in {*itertools.chain(*present)}]
    rest = iter(words)
    assert all(word in rest for word in left), "the order stays"


@given(TEXT.filter(len), PHRASES)
def test_the_overlap_is_a_share_of_words(words: list[str], phrases: list[list[str]]) -> None:
    lower = [word.lower() for word in words]
    belongs = {word for phrase in phrases if all(part in lower for part in phrase) for word in phrase}
    assert overlap(words, phrases) == sum(word in belongs for word in lower) / len(words)
    assert overlap(words, [lower]) == 1
    assert overlap(words, [[*lower, "elsewhere"]]) == 0


def test_words_are_looked_up_as_they_are_and_then_in_lower_case() -> None:
    known = {"Apple", "apple", "guitar", "видео", "película"}
    words = ["Apple", "GUITAR", "видео", "nothing", "película"]
    assert vectorised(words, known) == ["Apple", "guitar", "película"]
    assert vectorised(words, known, english_words()) == ["Apple", "guitar"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("видео 2013", "not_english"),
        ("日本の音楽", "not_english"),
        ("qxzzt", "no_word_vector"),
        ("видео qxzzt", "no_word_vector"),
        ("★★★ 12", "no_word_vector"),
        ("  ", "no_text"),
    ],
)
def test_texts_without_words_say_why(text: str, reason: str) -> None:
    assert why_no_words(text) == reason


# English


@pytest.mark.parametrize("title", OTHER_LANGUAGES)
def test_titles_in_other_languages_are_told_apart(title: str) -> None:
    assert not is_english(title)
    assert not is_english(title.upper())


@pytest.mark.parametrize(
    "title",
    ["My dog plays in the garden", "London 2013", "Taylor Swift - Shake It Off", "GTA V Online", "Concert", "2013", ""],
)
def test_short_titles_full_of_names_may_be_english(title: str) -> None:
    assert is_english(" ".join(title_words(title)))


# Word vectors


@pytest.fixture(scope="module")
def spacy(asset: Callable[[str], Path]) -> dict[str, Path]:
    return {name: asset(name) for name in ASSETS["spacy"]}


@pytest.fixture(scope="module")
def vectors(spacy: dict[str, Path]) -> WordVectors:
    return open_vectors("spacy", spacy)


def test_words_are_hashed_as_spacy_documents() -> None:
    assert murmur64(b"coffee") == 3197928453018144401
    assert murmur64(b"") == 0


def cosine(vectors: WordVectors, one: str, other: str) -> float:
    a, b = vectors.lookup([one, other])
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_spacy_s_vectors_mean_something(vectors: WordVectors) -> None:
    assert vectors.dimensions == 300
    assert (vectors["dog"].dtype, vectors["dog"].shape) == (np.float32, (300,))
    for near, far in ((("dog", "puppy"), "guitar"), (("guitar", "banjo"), "car"), (("car", "truck"), "song")):
        assert cosine(vectors, *near) > 0.5 > cosine(vectors, near[0], far)


def test_spacy_s_vocabulary(vectors: WordVectors) -> None:
    known = ["dog", "Dog", "game", "video", "Minecraft", "café", "the"]
    assert all(word in vectors for word in known)
    assert np.array_equal(vectors.lookup(known), np.stack([vectors[word] for word in known]))
    assert vectors.lookup([]).shape == (0, 300)
    for unknown in ("qxzzt", "", "\ud800", None):
        assert unknown not in vectors
    with pytest.raises(KeyError, match="qxzzt"):
        vectors.lookup(["dog", "qxzzt"])


def test_files_that_are_no_vectors_are_refused(tmp_path: Path, spacy: dict[str, Path]) -> None:
    junk = tmp_path / "junk"
    for content in (b"", b"no such thing", b"3 x\nabc", gzip.compress(b"0 0\n")):
        junk.write_bytes(content)
        for name in spacy:
            with pytest.raises(UserError, match="junk"):
                open_vectors("spacy", {**spacy, name: junk})
        with pytest.raises(UserError, match="junk"):
            open_vectors("word2vec", {"word2vec_google_news": junk})
    with junk.open("wb") as file:
        np.save(file, np.zeros((3, 2), np.float32))
    with pytest.raises(UserError, match="one pipeline"):
        open_vectors("spacy", {**spacy, "spacy_md_vectors": junk})


def word2vec(path: Path, words: Sequence[str], table: np.ndarray, line_breaks: bool, zipped: bool) -> dict[str, Path]:
    parts = [b"%d %d\n" % table.shape]
    for word, vector in zip(words, table, strict=True):
        parts += [word.encode(), b" ", struct.pack(f"<{len(vector)}f", *vector), b"\n" if line_breaks else b""]
    path.write_bytes(gzip.compress(b"".join(parts)) if zipped else b"".join(parts))
    return {"word2vec_google_news": path}


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=" \n"), min_size=1, max_size=9)


@given(
    st.lists(NAMES, min_size=1, max_size=12, unique=True), st.integers(1, 5), st.booleans(), st.booleans(), st.data()
)
def test_word2vec_files_are_read_back(
    tmp_path_factory: pytest.TempPathFactory,
    words: list[str],
    dimensions: int,
    line_breaks: bool,
    zipped: bool,
    data: st.DataObject,
) -> None:
    values = st.binary(min_size=len(words) * dimensions, max_size=len(words) * dimensions)
    table = np.frombuffer(data.draw(values), np.int8).astype(np.float32).reshape(len(words), dimensions) / 8
    path = tmp_path_factory.getbasetemp() / "vectors.bin"
    vectors = open_vectors("word2vec", word2vec(path, words, table, line_breaks, zipped))
    assert vectors.dimensions == dimensions
    assert all(word in vectors for word in words)
    assert words[0] + words[0] not in {*words} or words[0] + words[0] in vectors
    assert "absent word" not in vectors
    chosen = data.draw(st.lists(st.sampled_from(words), max_size=5))
    assert np.array_equal(vectors.lookup(chosen), table[[words.index(word) for word in chosen]].reshape(-1, dimensions))
    with pytest.raises(KeyError, match="absent word"):
        vectors["absent word"]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_word2vec_file_that_is_cut_off_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "vectors.bin"
    files = word2vec(path, ["one", "two", "three"], np.random.default_rng(0).normal(size=(3, 50)), True, zipped)
    whole = path.read_bytes()
    for length in (len(whole) // 3, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cut off"):
            open_vectors("word2vec", files)


# The extractor


@pytest.fixture(scope="module")
def words_of(spacy: dict[str, Path]) -> Callable[[Row], Row]:
    return Extractor().load(spacy, ["Game", "Video game", "Tom and Jerry", "Game"])


def test_the_extractor_fills_its_columns(words_of: Callable[[Row], Row]) -> None:
    row = words_of(
        {"title": "Tom & Jerry: the VIDEO Game qxzzt", "keywords": ["Jerry and Tom", "game"], "labels": [1, 2]}
    )
    assert list(row) == [field.name for field in Extractor().columns()]
    assert row["title"] == ["Tom", "Jerry", "the", "VIDEO", "Game"]
    assert row["title_filtered"] == ["Tom", "Jerry", "the"]
    assert row["keywords"] == ["jerry", "tom", "game"]
    assert row["keywords_filtered"] == ["game"]
    assert (row["title_reason"], row["keywords_reason"]) == (None, None)


def test_texts_without_words_leave_empty_lists(words_of: Callable[[Row], Row]) -> None:
    row = words_of({"title": "видео", "keywords": None, "keywords_reason": "removed", "labels": []})
    assert (row["title"], row["keywords"], row["title_filtered"], row["keywords_filtered"]) == ([], [], [], [])
    assert (row["title_reason"], row["keywords_reason"]) == ("not_english", "removed")
    row = words_of({"title": "Game!", "keywords": ["the", "2013"], "labels": [0]})
    assert (row["title_filtered"], row["title_reason"]) == ([], None)
    assert row["keywords_reason"] == "no_word_vector"


def test_texts_in_other_languages_are_removed(spacy: dict[str, Path], words_of: Callable[[Row], Row]) -> None:
    german = {"title": "Der schönste Tag meines Lebens", "keywords": ["película", "perro 1080p"], "labels": []}
    row = words_of(german)
    assert (row["title"], row["title_filtered"], row["title_reason"]) == ([], [], "not_english")
    assert (row["keywords"], row["keywords_reason"]) == ([], "not_english")
    latin = Extractor(english_titles=0, english_keywords=False, min_length=1).load(spacy, [])
    row = latin(german)
    assert "Tag" in row["title"] and {"película", "p"} <= set(row["keywords"])
    assert (row["title_reason"], row["keywords_reason"]) == (None, None)


def test_label_words_leave_keywords_as_the_setting_says(spacy: dict[str, Path]) -> None:
    video = {"title": None, "keywords": ["guitar", "guitar lesson", "acoustic guitar"], "labels": [0]}
    for label_words, left in (("all", ["lesson", "acoustic"]), ("once", ["guitar", "lesson", "acoustic", "guitar"])):
        extractor = Extractor.model_validate({"label_words": label_words})
        assert extractor.load(spacy, ["Guitar"])(video)["keywords_filtered"] == left


def test_the_extractor_names_its_assets() -> None:
    assert Extractor().assets == ("spacy_md_keys", "spacy_md_vectors")
    assert Extractor(vectors="word2vec").assets == ("word2vec_google_news",)
