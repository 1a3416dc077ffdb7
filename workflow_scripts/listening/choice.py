"""Which clips a listening test plays, and which captions of them are rated (Temp4Cap, section 3.4)."""

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.errors import UserError
from workflow_scripts.settings.listening import ListeningTest
from workflow_scripts.shards import Row, Status

log = logging.getLogger(__name__)

NOTHING_SAID = "(no caption)"


@dataclass(frozen=True)
class Caption:
    """A caption as raters see it, and the systems that said it."""

    id: str
    text: str
    systems: list[str]


@dataclass(frozen=True)
class Clip:
    """A chosen clip with its captions, in an order that tells nothing."""

    corpus: str
    clip_id: str
    sound: Path
    captions: list[Caption]


def digest(*parts: object) -> str:
    """Sixteen hexadecimal digits that stand for the parts."""
    return hashlib.blake2b("\n".join(map(str, parts)).encode(), digest_size=8).hexdigest()


def shown(text: str) -> str:
    """A caption as raters see it.

    References have capitals and punctuation where systems have none: all are written alike, or the way of writing
    would tell who wrote them.
    """
    words = " ".join(re.sub(r"[^\w\s'-]", " ", text.lower()).split())
    return words[:1].upper() + words[1:] if words else NOTHING_SAID


def telling(captions: Iterable[str], words: Sequence[str], least: int) -> list[str]:
    """The captions with at least so many of the words, each as often as it stands there."""
    wanted = frozenset(words)
    counts = {caption: sum(word in wanted for word in re.findall(r"[\w']+", caption.lower())) for caption in captions}
    return [caption for caption, count in counts.items() if count >= least]


def choose(
    test: ListeningTest,
    corpus: str,
    manifest: Iterable[Row],
    sounds: Mapping[str, Path],
    predictions: Mapping[str, Mapping[str, str]],
) -> list[Clip]:
    """The chosen clips of one corpus: those whose hashes with the seed are smallest.

    `manifest` has the corpus's rows, `sounds` the media files by clip, `predictions` the captions by clip for each
    experiment. A clip is eligible when it could be had, every system has a caption for it, and one of its references
    has enough temporal words; that reference, or one of those, is the one that is rated. Fewer eligible clips than
    wanted are all taken; none at all is a `UserError`.
    """
    others = [predictions[chosen[corpus]] for chosen in test.systems.values() if chosen is not None]
    eligible: dict[str, list[str]] = {}
    for row in manifest:
        clip_id = row["clip_id"]
        if row["split"] != test.split or row["status"] != Status.OK or clip_id not in sounds:
            continue
        references = telling(row["captions"] or [], test.words, test.least)
        if references and all(clip_id in captions for captions in others):
            eligible[clip_id] = references
    if not eligible:
        raise UserError(
            f"{corpus}: no '{test.split}' clip can be rated: none has sound, a caption of every system, and a "
            f"reference with {test.least} of the words {', '.join(test.words)}; lower `least` or give more `words`"
        )
    wanted = test.clips[corpus]
    if len(eligible) < wanted:
        log.warning("%s: only %d clips can be rated, %d are wanted", corpus, len(eligible), wanted)
    chosen_clips = sorted(eligible, key=lambda clip_id: digest(test.seed, clip_id))[:wanted]
    clips = []
    for clip_id in chosen_clips:
        reference = min(eligible[clip_id], key=lambda caption: digest(test.seed, clip_id, caption))
        said = {
            label: reference if chosen is None else predictions[chosen[corpus]][clip_id]
            for label, chosen in test.systems.items()
        }
        clips.append(Clip(corpus, clip_id, sounds[clip_id], merged(f"{test.seed} {corpus} {clip_id}", said)))
    return clips


def merged(place: str, said: Mapping[str, str]) -> list[Caption]:
    """The captions of a clip by systems; what several systems said is shown, and rated, once for all of them.

    An id is made from the place and from what raters see, so that it tells nothing of the systems.
    """
    systems: dict[str, list[str]] = {}
    for label, text in said.items():
        systems.setdefault(shown(text), []).append(label)
    captions = [Caption(digest(place, text), text, labels) for text, labels in systems.items()]
    return sorted(captions, key=lambda caption: caption.id)
