"""Captions of composed scenes: what is heard, and in which order, in many wordings.

A caption names every event of its scene. One *with temporal words* says in which order events come, and which come
together; one without lists them as they come. Nothing but the scene decides what a caption says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from composed.sounds.envelopes import Envelope
from composed.types import Rng

ATTEMPTS = 200  # to find another wording
GOING_ON = 0.3  # share of captions with "is barking" in place of "barks"
LOOSE = 0.35  # share of lists of -ing phrases


@dataclass(frozen=True)
class Kind:
    """A kind of event: a sound, its envelope, and the words for it."""

    sound: str
    subjects: tuple[str, ...]
    verbs: tuple[tuple[str, str], ...]  # third person and -ing form
    envelope: Envelope | None = None
    plural: bool = False
    lasting: bool = False  # may go on through a whole scene


def kind(
    sound: str,
    subjects: str,
    verbs: str,
    envelope: Envelope | None = None,
    plural: bool = False,
    lasting: bool = False,
) -> Kind:
    """A kind from lists with commas; a verb is its two forms with a slash."""
    forms = [verb.partition("/")[::2] for verb in verbs.split(", ")]
    return Kind(sound, tuple(subjects.split(", ")), tuple(forms), envelope, plural, lasting)


KINDS: dict[str, Kind] = {
    "alarm bell": kind("alarm bell", "an alarm bell, an alarm clock", "rings/ringing, goes off/going off"),
    "beeps": kind("beeper", "an electronic alarm, a smoke detector", "beeps/beeping, chirps/chirping"),
    "blender": kind("Blender", "a blender, a food processor", "whirs/whirring, grinds/grinding"),
    "blender in bursts": kind(
        "Blender",
        "a blender, a food processor",
        "whirs in short bursts/whirring in short bursts, grinds on and off/grinding on and off",
        "repeatedly",
    ),
    "cat": kind("Cat", "a cat, a house cat", "meows/meowing, mews/mewing"),
    "church bell": kind("bell", "a church bell, a large bell", "tolls/tolling, chimes/chiming"),
    "cow": kind("cow", "a cow, a nearby cow", "moos/mooing, lows/lowing"),
    "crockery": kind("Dishes", "dishes, plates", "clatter/clattering, clink/clinking", plural=True),
    "dog": kind("Dog", "a dog, a pet dog", "barks/barking, yaps/yapping"),
    "duck": kind("duck", "a duck, a wild duck", "quacks/quacking, calls/calling"),
    "frog": kind("frog", "a frog, a small frog", "croaks/croaking, ribbits/ribbiting"),
    "frying": kind("Frying", "food, hot oil", "sizzles/sizzling, fries in a pan/frying in a pan", lasting=True),
    "gong": kind("gong", "a gong, a large gong", "sounds/sounding, rings out/ringing out"),
    "insects": kind("rainforest", "insects, crickets", "chirp/chirping, buzz/buzzing", plural=True, lasting=True),
    "owl": kind("owl", "an owl, a night owl", "hoots/hooting, calls/calling"),
    "pig": kind("pig", "a pig, a hog", "oinks/oinking, grunts/grunting"),
    "rain": kind("rain", "rain, heavy rain", "falls/falling, patters down/pattering down", lasting=True),
    "rain that dies down": kind(
        "rain", "rain, the rain", "dies down/dying down, eases off/easing off", "falling"
    ),
    "rain that sets in": kind("rain", "rain, the rain", "gets heavier/getting heavier, sets in/setting in", "rising"),
    "shaver": kind(
        "Electric_shaver_toothbrush", "an electric shaver, an electric toothbrush", "buzzes/buzzing, runs/running"
    ),
    "shaver on and off": kind(
        "Electric_shaver_toothbrush",
        "an electric shaver, an electric toothbrush",
        "buzzes on and off/buzzing on and off, buzzes in short bursts/buzzing in short bursts",
        "repeatedly",
    ),
    "siren": kind("siren", "a siren, an emergency siren", "wails/wailing, blares/blaring"),
    "siren that comes near": kind(
        "siren", "a siren, an emergency siren", "comes closer/coming closer, grows louder/growing louder", "rising"
    ),
    "siren that goes away": kind(
        "siren", "a siren, an emergency siren", "fades away/fading away, grows fainter/growing fainter", "falling"
    ),
    "speech": kind("Speech", "a person, someone", "speaks/speaking, talks/talking"),
    "train": kind("train", "a train, a long train", "passes by/passing by, rumbles past/rumbling past"),
    "train that comes near": kind(
        "train", "a train, a long train", "approaches/approaching, comes closer/coming closer", "rising"
    ),
    "train that goes away": kind(
        "train", "a train, a long train", "moves away/moving away, fades into the distance/fading into the distance",
        "falling",
    ),
    "vacuum cleaner": kind(
        "Vacuum_cleaner", "a vacuum cleaner, a vacuum", "hums/humming, roars/roaring", lasting=True
    ),
    "vacuum cleaner that powers down": kind(
        "Vacuum_cleaner", "a vacuum cleaner, a vacuum", "powers down/powering down, slows down/slowing down", "falling"
    ),
    "vacuum cleaner that starts": kind(
        "Vacuum_cleaner", "a vacuum cleaner, a vacuum", "starts up/starting up, powers up/powering up", "rising"
    ),
    "water": kind("Running_water", "water, tap water", "runs/running, flows/flowing", lasting=True),
    "water on and off": kind(
        "Running_water",
        "water, tap water",
        "runs on and off/running on and off, splashes in bursts/splashing in bursts",
        "repeatedly",
    ),
}  # fmt: skip

ALONE = ("{0.clause}", "{0.clause}", "{0.ing}", "the sound of {0.ing}", "{0.ing} can be heard")

# Of events that follow each other, by their number. The second group is for single events: of two at the same time it
# would not be clear what comes before or after what.
FOLLOWING: dict[int, tuple[str, ...]] = {
    2: (
        "{0.clause}, then {1.clause}",
        "{0.clause} and then {1.clause}",
        "{0.clause}, followed by {1.ing}",
        "first {0.clause}, then {1.clause}",
    ),
    3: (
        "{0.clause}, then {1.clause}, and then {2.clause}",
        "{0.clause}, followed by {1.ing} and then {2.ing}",
        "first {0.clause}, then {1.clause} and finally {2.clause}",
    ),
    4: (
        "{0.clause}, then {1.clause}, then {2.clause} and finally {3.clause}",
        "{0.clause}, followed by {1.ing}, then {2.ing} and then {3.ing}",
    ),
}
BEFORE_AND_AFTER: dict[int, tuple[str, ...]] = {
    2: (
        "{0.clause} before {1.clause}",
        "{1.clause} after {0.clause}",
        "after {0.clause}, {1.clause}",
        "{0.ing} is followed by {1.ing}",
    ),
    3: (
        "{0.clause} before {1.clause}, and then {2.clause}",
        "after {0.clause}, {1.clause}, followed by {2.ing}",
    ),
    4: ("after {0.clause}, {1.clause}, then {2.clause}, followed by {3.ing}",),
}

# Of two events at the same time: a main clause and its -ing form.
SIMULTANEOUS = (
    ("{0.clause} while {1.clause}", "{0.ing} while {1.clause}"),
    ("{0.clause} as {1.clause}", "{0.ing} as {1.clause}"),
    ("{0.clause} and {1.clause} at the same time", "{0.ing} and {1.ing} at the same time"),
)

# A scene and what is heard all through it: without temporal words, with them, and of one event only.
BACKGROUND = ("{0} with {1.ing} in the background", "{0}, with {1.ing} in the background")
DURING = ("{0} while {1.clause} in the background", "{0} as {1.clause} in the background")
THROUGHOUT = ("{1.clause} continuously while {0}", "{1.clause} throughout as {0}")


class Wording(NamedTuple):
    """Words as a main clause ("a dog barks") and as an -ing phrase ("a dog barking")."""

    clause: str
    ing: str

    def within(self, caption: str) -> str:
        """The one of the two that stands in a caption (of which case does not matter)."""
        return self.ing if self.ing in caption.lower() else self.clause


class Caption(NamedTuple):
    """A caption, the words in it for every event by kind, and whether it has the temporal words for their order."""

    text: str
    wordings: Mapping[str, str]
    temporal: bool


def caption(groups: Sequence[Sequence[str]], background: str | None, temporal: float, rng: Rng, stop: str) -> Caption:
    """One caption of a scene.

    `groups` are kinds in the order in which they are heard, those of one group at the same time; `background` is heard
    all through. `temporal` is the probability of temporal words, where there is an order to be said, and `stop` is
    written at the end.
    """
    foreground = [name for group in groups for name in group]
    names = foreground + ([background] if background else [])
    sequenced = len(names) > 1 and bool(rng.random() < temporal)
    alone, paired = len(foreground) == 1, len(foreground) > len(groups)
    going_on = bool(rng.random() < GOING_ON) and not (sequenced and len(groups) > 1)
    words = {name: worded(KINDS[name], going_on, rng) for name in names}
    if sequenced and not alone:
        text = in_sequence([simultaneous([words[name] for name in group], rng) for group in groups], paired, rng)
    elif alone and not background:
        text = pick(ALONE, rng).format(words[foreground[0]])
    else:
        text = listed([words[name] for name in foreground], background is None, rng)
    if background:
        options = (BACKGROUND if paired else DURING + THROUGHOUT * alone) if sequenced else BACKGROUND
        text = pick(options, rng).format(text, words[background])
    used = {name: word.within(text) for name, word in words.items()}
    return Caption(text[0].upper() + text[1:] + stop, used, sequenced)


def captions(
    groups: Sequence[Sequence[str]], background: str | None, temporal: float, rng: Rng, stop: str, count: int
) -> list[Caption]:
    """`count` captions of a scene, no two with the same words."""
    found: dict[str, Caption] = {}
    for _ in range(ATTEMPTS):
        made = caption(groups, background, temporal, rng, stop)
        found.setdefault(made.text, made)
        if len(found) == count:
            return list(found.values())
    raise ValueError(f"there are not {count} captions of {groups}")


def worded(about: Kind, going_on: bool, rng: Rng) -> Wording:
    """Words for an event; `going_on`: "is barking" in place of "barks"."""
    subject = pick(about.subjects, rng)
    simple, ing = about.verbs[rng.integers(len(about.verbs))]
    verb = f"{'are' if about.plural else 'is'} {ing}" if going_on else simple
    return Wording(f"{subject} {verb}", f"{subject} {ing}")


def simultaneous(words: Sequence[Wording], rng: Rng) -> Wording:
    """Words for one event, or for two that are heard at the same time."""
    if len(words) == 1:
        return words[0]
    clause, ing = SIMULTANEOUS[rng.integers(len(SIMULTANEOUS))]
    swapped = words[:: rng.choice([1, -1])]
    return Wording(clause.format(*swapped), ing.format(*swapped))


def in_sequence(parts: Sequence[Wording], paired: bool, rng: Rng) -> str:
    """Events one after the other, in words that say so; `paired`: some of the parts are two events."""
    number = len(parts)
    if number == 1:
        return parts[0].clause
    return pick(FOLLOWING[number] + (() if paired else BEFORE_AND_AFTER[number]), rng).format(*parts)


def listed(words: Sequence[Wording], loose: bool, rng: Rng) -> str:
    """Events in a row, without a word on their order; `loose`: they may be -ing phrases in place of a sentence."""
    phrases = loose and bool(rng.random() < LOOSE)
    parts = [word.ing if phrases else word.clause for word in words]
    return f"{', '.join(parts[:-1])}{pick((' and ', ', and '), rng)}{parts[-1]}" if len(parts) > 1 else parts[0]


def pick(options: Sequence[str], rng: Rng) -> str:
    return options[int(rng.integers(len(options)))]
