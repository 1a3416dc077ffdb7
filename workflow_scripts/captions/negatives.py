"""Negatives of a temporal caption (Temp4Cap, section 2.2): event shuffle, random substitution, or both.

The orders stay in their places, the descriptions move. Texts that pair the same descriptions with the same orders tell
the same story: such a shuffle is no negative.
"""

import itertools
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from workflow_scripts.captions.grammar import TemporalCaption
from workflow_scripts.settings.temporal import Negatives


def negatives(
    captions: Sequence[TemporalCaption],
    samples: Sequence[str],
    settings: Negatives,
    seed: int,
    epoch: int,
    reservoir: Sequence[TemporalCaption] = (),
) -> list[list[TemporalCaption]]:
    """The negatives of every caption of a mini-batch: `k` of each, or none where it has none.

    `samples` are the ids of the captions; with `seed` and `epoch` they fix what is drawn, so that a resumed run draws
    the same. Substitutes come from the other captions of the batch, eligible or not, and where these have nothing new
    from `reservoir`, captions of the training set.
    """
    drawn: list[list[TemporalCaption]] = []
    for place, (caption, sample) in enumerate(zip(captions, samples, strict=True)):
        if not caption.eligible(settings.eligibility):
            drawn.append([])
            continue
        rng = np.random.default_rng([seed, epoch, zlib.crc32(sample.encode())])
        pools: list[list[str]] = []
        if settings.mode != "es":
            others = [*captions[:place], *captions[place + 1 :]]
            pools = new_descriptions(caption, others) or new_descriptions(caption, reservoir)
        drawn.append(draw(caption, settings, pools, rng))
    return drawn


def draw(
    caption: TemporalCaption, settings: Negatives, pools: Sequence[Sequence[str]], rng: np.random.Generator
) -> list[TemporalCaption]:
    """`k` negatives of a caption, or none; `pools` are the substitutes that each donor has for it."""
    if settings.mode == "es":
        return shuffles(caption, settings.k, rng)
    if not pools:
        return []
    substituted = [substitution(caption, pools, rng) for _ in range(settings.k)]
    if settings.mode == "rs":
        return substituted
    return [shuffles(changed, 1, rng)[0] if distinct_shuffles(changed) else changed for changed in substituted]


def new_descriptions(caption: TemporalCaption, donors: Sequence[TemporalCaption]) -> list[list[str]]:
    """For each donor that has any, its descriptions that do not occur in the caption."""
    own = set(caption.descriptions)
    pools = ([text for text in donor.descriptions if text not in own] for donor in donors)
    return [pool for pool in pools if pool]


def substitution(caption: TemporalCaption, pools: Sequence[Sequence[str]], rng: np.random.Generator) -> TemporalCaption:
    """One event, any, replaced by one of a donor, any; its order stays."""
    items, pool = list(caption.items), pools[int(rng.integers(len(pools)))]
    place = int(rng.integers(len(items)))
    items[place] = (pool[int(rng.integers(len(pool)))], items[place][1])
    return TemporalCaption(tuple(items))


def shuffles(caption: TemporalCaption, count: int, rng: np.random.Generator) -> list[TemporalCaption]:
    """`count` event shuffles that change which description has which order: all distinct if there are as many,
    otherwise drawn with replacement; none if there is none."""
    existing = distinct_shuffles(caption)
    if not existing:
        return []
    found: list[TemporalCaption] = []
    seen = {story(caption)}
    while len(found) < count:
        places = rng.permutation(len(caption.items))
        items = zip((caption.items[place][0] for place in places), (o for _, o in caption.items), strict=True)
        shuffled = TemporalCaption(tuple(items))
        if story(shuffled) not in seen:
            found.append(shuffled)
            if existing >= count:
                seen.add(story(shuffled))
    return found


def story(caption: TemporalCaption) -> frozenset[tuple[tuple[str, int | None], int]]:
    """What a caption tells, however it is written: which description has which order, and how often."""
    return frozenset(Counter(caption.items).items())


def distinct_shuffles(caption: TemporalCaption) -> int:
    """The number of shuffles that tell another story: n! / (product of the factorials of the ties) - 1 if all
    descriptions differ."""
    orders = Counter(order for _, order in caption.items).values()
    return arrangements(tuple(sorted(orders)), tuple(sorted(Counter(caption.descriptions).values()))) - 1


@lru_cache(maxsize=1 << 12)
def arrangements(orders: tuple[int, ...], descriptions: tuple[int, ...]) -> int:
    """In how many ways descriptions can be dealt to orders, given how often each of both occurs."""
    if not orders:
        return 1
    return sum(
        arrangements(orders[1:], tuple(sorted(left - taken for left, taken in zip(descriptions, dealt, strict=True))))
        for dealt in itertools.product(*(range(min(times, orders[0]) + 1) for times in descriptions))
        if sum(dealt) == orders[0]
    )
