"""Words of captions: which carry content, and their stems."""

import re
from functools import lru_cache

FUNCTION = """a an the and or but so of in on at to from by for with without into onto over under up down out off as
is are was were be been being am do does did has have had having it its it's they them their this that these those
there here then while when after before during until who which what where some something someone somebody one ones
other others another each every all both several very more most much many few he she his her him you your i we our not
no also again too own through across around near nearby along toward towards behind"""
SOUNDING = """applause applaud alarm announce audio bang bark baa beat beep bell blare blast bleat blow boil bounce
bubble bump burp burst buzz call caw chant chatter cheer chew chime chirp chop clack clang clank clap clatter click
clink clip clop cluck coo conversation cough crack crackle crash creak cricket croak crow crowd crumple crunch cry
dial ding drip drive drone drop drum echo engine explosion explode fart fire fireworks fizz flap flow flush footsteps
fry gallop gargle giggle grind groan growl grumble grunt gunfire gunshot gurgle gush hammer hiss hit honk hoot horn
howl hum idle jingle knock laugh laughter meow melody moan moo motor music neigh noise oink ooze pass patter peep play
plop pop pour pull purr quack race rain rattle rev ring rip roar rub rumble run rustle saw scrape scratch scream
screech scrub shatter shoot shout shriek shuffle shut sigh silence sing siren sizzle slam slap slide slosh slurp snap
sneeze sniff snore snort sound speak speech speed splash splatter spray spin squawk squeak squeal squeeze static steam
stir stomp stream stutter sweep swish swoosh talk tap tear tick tinkle thud thump thunder toot traffic trickle trill
tune tweet type vibrate vibrations wail walk warble wash wave whimper whine whinny whir whirr whisper whistle whoosh
wind woof yell yelp yowl zip zoom voice
narration narrate breathe vocalize drill skid interject"""
FUNCTION_WORDS = frozenset(FUNCTION.split())
SUFFIXES = ("ations", "ation", "ings", "ing", "edly", "ed", "ers", "er", "ies", "ied", "ly", "es", "s", "y", "e")


@lru_cache(maxsize=1 << 14)
def stem(word: str) -> str:
    """A word without its ending, so that forms of one word meet: clap, claps, clapped, clapping; cry, cries."""
    word = re.sub(r"'s?$", "", word)
    for _ in range(2):  # at most two endings: repeated|ly, voic|es
        for suffix in SUFFIXES:
            if word.endswith(suffix) and len(word) - len(suffix) >= 3 and not (suffix == "s" and word.endswith("ss")):
                word = word[: -len(suffix)]
                break
        else:
            break
    if word.endswith("i"):
        return word[:-1] + "y"
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls" else word


def content(text: str) -> list[str]:
    """The stems of the words of a cleaned text that carry content, in order."""
    return [stem(word) for word in text.split() if word not in FUNCTION_WORDS]


SOUNDS = frozenset(map(stem, SOUNDING.split()))  # words, nouns or verbs, that by themselves tell of a sound
