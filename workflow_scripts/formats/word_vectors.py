"""Word vectors from the files of their publishers: which words there are, and the vectors of some of them.

`spacy`: the vocabulary of a spaCy pipeline. `key2row` is a MessagePack map from the hash of a word to its row, and
`vectors` a NumPy array; several words may share a row, because the table is pruned to its most useful rows. spaCy
hashes a word with MurmurHash64A of its UTF-8, seed 1.

`word2vec`: the binary format of the word2vec tool, plain or gzipped. A line of text says how many words and
dimensions; then of each word its UTF-8, a space, and its float32 values.
"""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from io import BufferedIOBase
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from workflow_scripts.errors import UserError

Kind = Literal["spacy", "word2vec"]
ASSETS: dict[Kind, tuple[str, ...]] = {
    "spacy": ("spacy_md_keys", "spacy_md_vectors"),
    "word2vec": ("word2vec_google_news",),
}
BLOCK = 1 << 20
LONGEST_WORD = 2_000  # bytes; Google's longest has less than 100
MASK = (1 << 64) - 1
MULTIPLIER = 0xC6A4A7935BD1E995


class WordVectors(Protocol):
    """A vocabulary and its vectors."""

    dimensions: int

    def __contains__(self, word: object) -> bool:
        """Whether the word, as it is written, has a vector."""

    def __getitem__(self, word: str) -> np.ndarray:
        """The float32 vector of a word; `KeyError` where it has none. Of many words, `lookup` is the quick way."""

    def lookup(self, words: Sequence[str]) -> np.ndarray:
        """The vectors of words that have one: float32 (words, dimensions); `KeyError` names one that has none."""


def open_vectors(kind: Kind, paths: Mapping[str, Path]) -> WordVectors:
    """The word vectors in files given by asset id (`ASSETS[kind]`); files of another content are a `UserError`."""
    files = [paths[name] for name in ASSETS[kind]]
    return Spacy(*files) if kind == "spacy" else Word2Vec(*files)


class Spacy:
    """spaCy's table, mapped from the disk; 12 bytes of memory a word."""

    def __init__(self, keys: Path, vectors: Path) -> None:
        import msgpack

        try:
            rows = msgpack.unpackb(keys.read_bytes(), strict_map_key=False)
            self._keys = np.fromiter(rows.keys(), np.uint64, len(rows))
            self._rows = np.fromiter(rows.values(), np.int32, len(rows))
        except (ValueError, TypeError, AttributeError, msgpack.UnpackException) as error:
            raise UserError(f"{keys}: not the keys of a spaCy vocabulary ({error}); fetch it again") from None
        try:
            self._table = np.load(vectors, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise UserError(f"{vectors}: not the vectors of a spaCy vocabulary ({error}); fetch it again") from None
        if self._table.ndim != 2 or (
            len(self._rows) and not 0 <= self._rows.min() <= self._rows.max() < len(self._table)
        ):
            raise UserError(f"{keys}: names rows that {vectors} does not have; the two must be of one pipeline")
        order = np.argsort(self._keys)
        self._keys, self._rows = self._keys[order], self._rows[order]
        self.dimensions: int = self._table.shape[1]

    def _row(self, word: str) -> int | None:
        key = np.uint64(murmur64(word.encode(errors="surrogatepass")))
        place = int(np.searchsorted(self._keys, key))
        return int(self._rows[place]) if place < len(self._keys) and self._keys[place] == key else None

    def __contains__(self, word: object) -> bool:
        return isinstance(word, str) and self._row(word) is not None

    def __getitem__(self, word: str) -> np.ndarray:
        return self.lookup([word])[0]

    def lookup(self, words: Sequence[str]) -> np.ndarray:
        rows = [self._row(word) for word in words]
        if None in rows:
            raise KeyError(words[rows.index(None)])
        return np.asarray(self._table[np.array(rows, np.int64)], np.float32)


class Word2Vec:
    """word2vec's file, streamed: once when it is opened, for a hash of every word (8 bytes of memory each), and once
    for each `lookup`, of which only the asked vectors are kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with opened(path) as file:
            count, self.dimensions = header(file, path)
            hashes = (hash(word) for word, _ in records(file, path, count, self.dimensions))
            self._hashes = np.sort(np.fromiter(hashes, np.int64, count))

    def __contains__(self, word: object) -> bool:
        if not isinstance(word, str):
            return False
        place = int(np.searchsorted(self._hashes, key := hash(word)))
        return place < len(self._hashes) and bool(self._hashes[place] == key)

    def __getitem__(self, word: str) -> np.ndarray:
        return self.lookup([word])[0]

    def lookup(self, words: Sequence[str]) -> np.ndarray:
        found = np.zeros((len(words), self.dimensions), np.float32)
        places: dict[str, list[int]] = {}
        for place, word in enumerate(words):
            places.setdefault(word, []).append(place)
        with opened(self._path) as file:
            count, _ = header(file, self._path)
            for word, values in records(file, self._path, count, self.dimensions):
                if not places:
                    break
                if word in places:
                    found[places.pop(word)] = np.frombuffer(values, "<f4")
        if places:
            raise KeyError(next(iter(places)))
        return found


def opened(path: Path) -> BufferedIOBase:
    """The file, unpacked if it is gzipped."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")


def header(file: BufferedIOBase, path: Path) -> tuple[int, int]:
    """How many words and dimensions the first line of a word2vec file promises."""
    try:
        count, dimensions = map(int, file.readline(100).split())
    except (ValueError, OSError, EOFError):
        count = dimensions = 0
    if count < 1 or dimensions < 1:
        raise UserError(f"{path}: not word vectors in word2vec's binary format; fetch it again")
    return count, dimensions


def records(file: BufferedIOBase, path: Path, count: int, dimensions: int) -> Iterator[tuple[str, bytes]]:
    """The words of a word2vec file after its header, with the bytes of their vectors; `UserError` if some lack."""
    size, buffer, start = 4 * dimensions, b"", 0
    for number in range(count):
        space = buffer.find(b" ", start)
        while space < 0 or len(buffer) < space + 1 + size:
            try:
                block = file.read(BLOCK)
            except (OSError, EOFError):
                block = b""  # a gzipped file that ends too early
            if not block or (space < 0 and len(buffer) - start > LONGEST_WORD):
                raise UserError(f"{path}: word {number + 1} of {count} is damaged or cut off; fetch the file again")
            buffer, start = buffer[start:] + block, 0
            space = buffer.find(b" ")
        # Some files end a record with a line break, which then stands before the next word.
        word = buffer[start:space].lstrip(b"\n").decode(errors="replace")
        start = space + 1 + size
        yield word, buffer[space + 1 : start]


@lru_cache(maxsize=1 << 17)
def murmur64(data: bytes, seed: int = 1) -> int:
    """MurmurHash64A (Austin Appleby's 64-bit version for 64-bit machines), by which spaCy names words."""
    if not data:
        return 0  # spaCy's own rule for the empty word
    state = seed ^ (len(data) * MULTIPLIER & MASK)
    whole = len(data) & ~7
    for place in range(0, whole, 8):
        block = int.from_bytes(data[place : place + 8], "little") * MULTIPLIER & MASK
        block = (block ^ block >> 47) * MULTIPLIER & MASK
        state = (state ^ block) * MULTIPLIER & MASK
    if len(data) > whole:
        state = (state ^ int.from_bytes(data[whole:], "little")) * MULTIPLIER & MASK
    state = (state ^ state >> 47) * MULTIPLIER & MASK
    return state ^ state >> 47
