"""Spoken sentences by eSpeak NG: synthetic voices, disjoint between the splits.

What eSpeak NG says depends on what its process said before, so every voice speaks its whole pool of sentences, in
a fixed order, in a process of its own.
"""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from composed.sounds.waveforms import SAMPLE_RATE, samples, trimmed
from composed.types import Waveform
from workflow_scripts.errors import UserError

SENTENCES_A_VOICE = 8
LANGUAGES = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp")
# Left out are the variants that whisper, croak or sound like robots, and those that YAMNet hardly hears as speech.
VARIANTS = (
    "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "Alex", "Alicia", "Andy", "Annie",
    "Denis", "Diogo", "Gene", "Henrique", "Hugo", "Marco", "Mike", "Nguyen", "Reed", "Storm", "adam", "anika",
    "aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "grandma", "grandpa", "iven",
    "john", "linda", "max", "michel", "miguel", "norbert", "pablo", "paul", "pedro", "rob", "sandro",
    "shelby", "steph", "travis", "victor",
)  # fmt: skip
SUBJECTS = ("my sister", "the neighbour", "your father", "our teacher", "the doctor", "a friend of mine", "the old man")
VERBS = ("was looking for", "has just found", "wants to sell", "always forgets", "is going to bring", "never liked")
OBJECTS = ("the blue jacket", "those letters", "a new bicycle", "the garden chairs", "her brother's car", "that song")
TAILS = ("before dinner", "on Sunday morning", "as far as I know", "and nobody knows why", "if I remember well")
SHORT = (
    "good morning", "come in, please", "thank you very much", "what did you say", "I don't know", "over here",
    "are you coming", "wait a minute", "that is fine", "where are you", "see you tomorrow", "of course I do",
)  # fmt: skip
OPENINGS = ("", "well, ", "you know, ", "listen, ", "I think ", "they told me that ")

ESPEAK = Path(__file__).with_name("espeak.py")


class Voice(NamedTuple):
    """One speaker: an eSpeak NG voice, words a minute, and pitch and its range from 0 to 100."""

    name: str
    rate: int
    pitch: int
    pitch_range: int


def speakers(splits: Sequence[str], per_split: int, seed: int) -> dict[str, list[Voice]]:
    """`per_split` speakers for each split; no variant of a voice is in two splits."""
    rng = np.random.default_rng(seed)
    variants = list(rng.permutation(VARIANTS))
    if per_split * len(splits) > len(variants):
        raise UserError(f"{len(variants)} voices are too few for {len(splits)} splits of {per_split} speakers")
    return {
        split: [
            Voice(
                f"{LANGUAGES[rng.integers(len(LANGUAGES))]}+{variants.pop()}",
                int(rng.integers(135, 200)),
                int(rng.integers(30, 70)),
                int(rng.integers(40, 80)),
            )
            for _ in range(per_split)
        ]
        for split in splits
    }


def sentence(rng: np.random.Generator) -> str:
    """A made-up everyday sentence, every other time a short one."""
    if rng.random() < 0.5:
        return SHORT[rng.integers(len(SHORT))]
    words = [part[rng.integers(len(part))] for part in (OPENINGS, SUBJECTS, VERBS, OBJECTS, TAILS)]
    return f"{words[0]}{' '.join(words[1:])}."


def spoken(voices: Sequence[Voice], seed: int) -> list[list[Waveform]]:
    """The sentences of every voice as float32 at 32 kHz without silence around them, two voices at a time."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda pair: pool_of(*pair), [(voice, seed + n) for n, voice in enumerate(voices)]))


def pool_of(voice: Voice, seed: int) -> list[Waveform]:
    """What one voice says."""
    import soxr

    rng = np.random.default_rng(seed)
    rate, sentences = speak(voice, [sentence(rng) for _ in range(SENTENCES_A_VOICE)])
    return [trimmed(soxr.resample(waveform, rate, SAMPLE_RATE)) for waveform in sentences]


def speak(voice: Voice, lines: Sequence[str]) -> tuple[int, list[Waveform]]:
    """The sample rate and each of the lines, spoken in a fresh process: see `espeak.py`."""
    import espeakng_loader

    library = espeakng_loader.get_library_path(), espeakng_loader.get_data_path()
    command = [sys.executable, "-S", "-E", str(ESPEAK), *library, *map(str, voice)]
    done = subprocess.run(command, input="\n".join(lines).encode(), capture_output=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise UserError(f"eSpeak NG could not speak with the voice '{voice.name}': {reason[0]}")
    header, _, audio = done.stdout.partition(b"\n")
    rate, *lengths = map(int, header.split())
    spoken = np.split(np.frombuffer(audio, "<i2"), np.cumsum(lengths)[:-1])
    return rate, [line.astype(np.float32) / np.float32(2**15) for line in spoken]


def excerpt(sentences: Sequence[Waveform], seconds: float, rng: np.random.Generator) -> Waveform:
    """One sentence that is not much longer than `seconds`, and others after short pauses while there is room."""
    shortest = min(sentences, key=len)
    fitting = [sentence for sentence in sentences if len(sentence) < samples(1.4 * seconds)] or [shortest]
    parts: list[Waveform] = []
    for index in rng.permutation(len(fitting)):
        if parts and sum(map(len, parts)) + len(fitting[index]) > samples(1.2 * seconds):
            break
        parts += [np.zeros(samples(rng.uniform(0.1, 0.35)), np.float32), fitting[index]]
    return np.concatenate(parts[1:])
