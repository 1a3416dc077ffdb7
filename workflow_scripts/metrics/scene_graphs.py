"""Scene graphs of captions compared: a figure like SPICE, where SPICE's own parser is not at hand.

As SPICE (Anderson et al. 2016, section 3) it compares what captions say as tuples, of an object, of an object with an
attribute, and of two objects with their relation, by the F-score of the tuples; the tuples of all references count as
one graph. Unlike it, it takes the graphs from `sng_parser` on a model of spaCy, and matches words by their lemma alone,
not by synonyms: its values are not SPICE's.
"""

import contextlib
import functools
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.errors import UserError

Graph = frozenset[tuple[str, ...]]

ATTRIBUTES = {"amod", "nummod"}  # dependencies that are attributes: a loud bark, two dogs; not articles
UNUSED = {"ner", "senter"}  # steps of a model that graphs do not need, and that take time


def f_scores(predictions: Sequence[str], references: Sequence[Sequence[str]], model: Path) -> np.ndarray:
    """The F-score of the tuples of each clip's caption against those of its references: (clips,).

    Captions are lower-case tokens between spaces. `model` is the wheel of a spaCy model with a dependency parser.
    """
    ours, flat = graphs(predictions, model), iter(graphs([text for texts in references for text in texts], model))
    theirs = [frozenset[tuple[str, ...]]().union(*(next(flat) for _ in texts)) for texts in references]
    return np.array([f_score(one, many) for one, many in zip(ours, theirs, strict=True)], float)


def f_score(ours: Graph, theirs: Graph) -> float:
    """The harmonic mean of the shares of tuples of either side that the other has, too; 0 if they share none."""
    return 2 * len(ours & theirs) / max(len(ours) + len(theirs), 1)


def graphs(captions: Sequence[str], model: Path) -> list[Graph]:
    """The tuples of captions, of lemmas; each is read once: each seed of a system has the same references."""
    nlp, parser, known = loaded(model)
    new = [text for text in dict.fromkeys(captions) if text not in known]
    read = nlp.pipe(new)  # takes a third of the time that one after the other takes
    known |= {text: graph(words, parser) for text, words in zip(new, read, strict=True)}
    return [known[text] for text in captions]


def graph(words: Any, parser: Any) -> Graph:
    """The tuples of a caption that spaCy has read."""
    if not len(words) or words.text.isspace():
        return frozenset()
    found = parser.parse(words)
    things = found["entities"]
    names = [thing["lemma_head"] for thing in things]
    relations = {(r["subject"], r["lemma_relation"], r["object"]) for r in found["relations"]}
    tuples: set[tuple[str, ...]] = {(name,) for name in names}
    tuples |= {(names[subject], relation, names[object_]) for subject, relation, object_ in relations}
    for place, thing in enumerate(things):
        start, end = thing["span_bounds"]
        tuples |= {(names[place], one["lemma_span"]) for one in thing["modifiers"] if one["dep"] in ATTRIBUTES}
        # What a thing does is its attribute, unless it does it to another: a dog barks, a man speaking.
        subjects = [word for word in words[start:end] if word.dep_ == "nsubj" and word.head.pos_ == "VERB"]
        doing = [word.head for word in subjects]
        doing += [child for word in words[start:end] for child in word.children if child.dep_ == "acl"]
        to_another = {relation.split()[0] for subject, relation, _ in relations if subject == place}
        tuples |= {(names[place], verb.lemma_) for verb in doing if verb.lemma_ not in to_another}
    return frozenset(tuples)


@functools.cache
def loaded(model: Path) -> tuple[Any, Any, dict[str, Graph]]:
    """A spaCy model, which takes seconds to load, the parser of what it reads, and the graphs of captions."""
    with without_torch():
        import sng_parser
        import spacy  # noqa: F401 - which the parser loads later

    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(model) as wheel:
            wheel.extractall(folder)
        settings = sorted(Path(folder).rglob("config.cfg"))
        if not settings:
            raise UserError(f"{model}: holds no spaCy model; give the wheel of one")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"\[W095\]")  # the model was trained with another release of spaCy
            parser = sng_parser.Parser("spacy", model=str(settings[0].parent))
    steps = parser.unwrapped.nlp
    steps.select_pipes(disable=[name for name in steps.pipe_names if name in UNUSED])
    parser.unwrapped.nlp = lambda words: words  # it is given what spaCy has read, many captions at a time
    return steps, parser, {}


@contextlib.contextmanager
def without_torch() -> Iterator[None]:
    """Inside, PyTorch is as if it were not installed: spaCy would load it, two seconds and 500 MB, for other models."""
    if "torch" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment]  # by which Python refuses to import a module
    try:
        yield
    finally:
        del sys.modules["torch"]
