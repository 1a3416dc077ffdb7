"""Word counts of labels, and the labels that they make likely (yt8m_text, section 3.2).

Memory grows with the pairs of a word and a label that occur together, never with the clips.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from workflow_scripts.training.systems.unigram.settings import Reading


@dataclass
class Counts:
    """How often what was seen in the training clips; `vocabulary` numbers the words in the order of their appearance.

    `pairs` holds sparse (words, classes) matrices whose sum counts the occurrences of a word in clips with a label.
    They are added up when they are of like size, so that each pair is touched only a few times.
    """

    classes: int
    clips: int = 0
    vocabulary: dict[str, int] = field(default_factory=dict)
    pairs: list[sparse.csr_matrix] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.label_clips = np.zeros(self.classes, np.int64)

    def add(self, words: pa.ListArray, labels: pa.ListArray) -> None:
        """Counts clips, each with its words (list<string>) and its labels (list<int>)."""
        for word in pc.unique(words.flatten()).to_pylist():
            self.vocabulary.setdefault(word, len(self.vocabulary))
        with_label = incidence(labels, labels.flatten().to_numpy(), self.classes)
        self.pairs.append((self.occurrences(words).T @ with_label).tocsr())
        while len(self.pairs) > 1 and self.pairs[-2].nnz <= 2 * self.pairs[-1].nnz:
            self.merge()
        self.clips += len(words)
        self.label_clips += np.asarray(with_label.sum(0)).ravel()

    def merge(self) -> None:
        last, before = self.pairs.pop(), self.pairs.pop()
        before.resize(last.shape)
        self.pairs.append(before + last)

    def total(self) -> sparse.csr_matrix:
        """Occurrences of every word in clips with every label: (words, classes)."""
        while len(self.pairs) > 1:
            self.merge()
        return self.pairs[0]

    def occurrences(self, words: pa.ListArray) -> sparse.csr_matrix:
        """How often each known word occurs in each clip: (clips, words)."""
        codes = words.flatten().dictionary_encode()
        numbers = np.array([self.vocabulary.get(word, -1) for word in codes.dictionary.to_pylist()], np.int64)
        return incidence(words, numbers[codes.indices.to_numpy()], len(self.vocabulary))


def incidence(lists: pa.ListArray, values: np.ndarray, width: int) -> sparse.csr_matrix:
    """(lists, width): how often each number stands in each list; `values` are the lists' items, negative ones none."""
    rows = np.repeat(np.arange(len(lists)), pc.list_value_length(lists).to_numpy())
    known = values >= 0
    ones = np.ones(int(known.sum()), np.int64)
    return sparse.csr_matrix((ones, (rows[known], values[known])), shape=(len(lists), width))


class Unigram:
    """Scores labels by P(label) times the product over a clip's words of P(word | label), equation 3.

    P(word | label) is (n(word and label) + alpha) / D(label), and the readings differ in D:

    - `paper`: n(label) + alpha |labels|, where n(label) counts clips, as printed. A label's probabilities of all words
      then do not add up to 1 but to about the number of words in a clip.
    - `words`: n(words under the label) + alpha |vocabulary|: the usual smoothed word model.
    - `released`: n(words under the label) + alpha |labels|, and P(label) is multiplied in once for every word. The
      release divides by the words' own probabilities too, which changes no clip's ranking of labels, and then divides
      the logarithms of the best label's score and of the others; that is left out, since every clip's best label would
      score 1.

    A word that training never met counts as one met 0 times. Labels without a training clip have probability 0.
    """

    def __init__(self, counts: Counts, reading: Reading, alpha: float) -> None:
        pairs = counts.total()
        under = np.asarray(pairs.sum(0)).ravel()
        divisor = {
            "paper": counts.label_clips + alpha * counts.classes,
            "words": under + alpha * len(counts.vocabulary),
            "released": under + alpha * counts.classes,
        }[reading]
        with np.errstate(divide="ignore"):
            self.prior = np.log(counts.label_clips / counts.clips)
        self.unseen = np.log(alpha) - np.log(divisor)  # log P(word | label) of a pair that never occurred
        self.gain = sparse.csr_matrix((np.log1p(pairs.data / alpha), pairs.indices, pairs.indptr), pairs.shape)
        self.counts, self.prior_per_word = counts, reading == "released"

    def scores(self, words: pa.ListArray) -> np.ndarray:
        """Probabilities (clips, classes) that add up to 1 for each clip, which makes clips comparable.

        `words` is a list<string> for each clip, none of them empty.
        """
        lengths = pc.list_value_length(words).to_numpy()[:, None].astype(np.float64)
        logs = (self.counts.occurrences(words) @ self.gain).toarray()
        logs += lengths * self.unseen + (lengths if self.prior_per_word else 1.0) * self.prior
        logs = np.exp(logs - logs.max(1, keepdims=True))
        return logs / logs.sum(1, keepdims=True)
