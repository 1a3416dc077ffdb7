"""Negatives of temporal captions: their numbers, what they keep and change, and that nothing else decides the draw."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.captions.grammar import TemporalCaption
from workflow_scripts.captions.negatives import distinct_shuffles, negatives, shuffles, story
from workflow_scripts.settings.temporal import Negatives

WORDS = ["dog barks", "man speaks", "bell rings", "cat meows", "rain falls", "car passes", "door slams", "owl hoots"]
OTHER = TemporalCaption((("siren wails", 1),))


def ordered(*orders: int | None) -> TemporalCaption:
    """A caption of different events with these orders."""
    return TemporalCaption(tuple(zip(WORDS, orders, strict=False)))


@st.composite
def captions(draw: st.DrawFn, least: int = 1, repeated: bool = True) -> TemporalCaption:
    """Any temporal caption, perhaps with descriptions that stand in it twice."""
    orders = draw(st.lists(st.sampled_from([1, 2, 3, 4, None]), min_size=least, max_size=6))
    words = draw(st.lists(st.sampled_from(WORDS), min_size=6, max_size=6, unique=not repeated))
    return TemporalCaption.of(zip(words, orders, strict=False))


def drawn(
    caption: TemporalCaption, *others: TemporalCaption, seed: int = 0, epoch: int = 0, **settings: object
) -> list:
    """The negatives of a caption in a batch with others."""
    batch = [caption, *others]
    names = [f"clip {number}" for number in range(len(batch))]
    return negatives(batch, names, Negatives.check(settings, "test"), seed, epoch)[0]


@pytest.mark.parametrize(
    ("orders", "count"),
    [((1, 2), 1), ((1, 1), 0), ((1, 1, 2), 2), ((1, 2, 3), 5), ((1, 2, None), 5), ((1, 2, 3, 4), 23), ((1,), 0)],
)
def test_numbers_of_distinct_shuffles(orders: tuple[int | None, ...], count: int) -> None:
    """The numbers of shuffles that change which event has which order."""
    caption = ordered(*orders)
    assert distinct_shuffles(caption) == count
    found = shuffles(caption, 200, np.random.default_rng(0))
    assert len({story(shuffled) for shuffled in found}) == count


@given(captions(repeated=False))
def test_the_number_is_the_formula(caption: TemporalCaption) -> None:
    """n! over the factorials of the ties, less the caption itself."""
    ties = Counter(order for _, order in caption.items).values()
    expected = math.factorial(len(caption.items)) // math.prod(math.factorial(tie) for tie in ties) - 1
    assert distinct_shuffles(caption) == expected


@given(captions(), st.integers(0, 99))
def test_shuffles_move_descriptions_and_nothing_else(caption: TemporalCaption, seed: int) -> None:
    """Orders stay in sequence, descriptions stay the same, the story is another; distinct while there are enough."""
    count = 6
    found = shuffles(caption, count, np.random.default_rng(seed))
    existing = distinct_shuffles(caption)
    assert len(found) == (count if existing else 0)
    for shuffled in found:
        assert [order for _, order in shuffled.items] == [order for _, order in caption.items]
        assert Counter(shuffled.descriptions) == Counter(caption.descriptions)
        assert story(shuffled) != story(caption)
    if existing >= count:
        assert len({story(shuffled) for shuffled in found}) == count


@given(captions(least=2), st.lists(captions(), max_size=3), st.integers(0, 99))
def test_substitution_changes_one_description(
    caption: TemporalCaption, others: list[TemporalCaption], seed: int
) -> None:
    """One place changes, to a description of another caption of the batch that is new; the orders stay."""
    found = drawn(caption, *others, seed=seed, mode="rs", k=5)
    new = {text for other in others for text in other.descriptions} - set(caption.descriptions)
    assert len(found) == (5 if new and caption.eligible("events") else 0)
    for changed in found:
        assert [order for _, order in changed.items] == [order for _, order in caption.items]
        differing = [a for a, b in zip(changed.descriptions, caption.descriptions, strict=True) if a != b]
        assert len(differing) == 1
        assert differing[0] in new


@given(captions(least=2), st.integers(0, 99))
def test_both_substitute_and_shuffle(caption: TemporalCaption, seed: int) -> None:
    """One description is new, and the rest stands elsewhere wherever a shuffle can tell another story."""
    found = drawn(caption, OTHER, seed=seed, mode="es+rs", k=5)
    assert len(found) == (5 if caption.eligible("events") else 0)
    for changed in found:
        lost = Counter(caption.descriptions) - Counter(changed.descriptions)
        assert Counter(changed.descriptions) - Counter(caption.descriptions) == Counter(["siren wails"])
        unshuffled = [
            TemporalCaption((*caption.items[:place], ("siren wails", order), *caption.items[place + 1 :]))
            for place, (text, order) in enumerate(caption.items)
            if text in lost
        ]
        if all(distinct_shuffles(other) for other in unshuffled) and len(unshuffled) == 1:
            assert story(changed) != story(unshuffled[0])


def test_two_events_have_one_shuffle_again_and_again() -> None:
    """Fewer shuffles than asked for are drawn with replacement."""
    found = drawn(ordered(1, 2), OTHER, mode="es")
    assert Counter(map(str, found)) == {"man speaks: 1; dog barks: 2": 24}


def test_all_tied_is_substituted_only() -> None:
    """Without a shuffle that changes anything: none by shuffling, substitution otherwise."""
    tied = ordered(1, 1)
    assert drawn(tied, OTHER, mode="es") == []
    for mode in ("rs", "es+rs"):
        found = drawn(tied, OTHER, mode=mode)
        assert set(map(str, found)) == {"siren wails: 1; man speaks: 1", "dog barks: 1; siren wails: 1"}


@pytest.mark.parametrize("mode", ["es", "rs", "es+rs"])
def test_ineligible_captions_have_none(mode: str) -> None:
    """One event has no negatives; tied events none where orders are what counts."""
    assert drawn(ordered(1), OTHER, mode=mode) == []
    assert drawn(ordered(1, 1), OTHER, mode=mode, eligibility="orders") == []
    assert drawn(ordered(1, None), OTHER, mode=mode, eligibility="orders") == []
    assert len(drawn(ordered(1, 2), OTHER, mode=mode, eligibility="orders")) == 24


def test_a_batch_of_one_takes_from_the_reservoir() -> None:
    """Alone in its batch, or among captions without anything new, a caption is substituted from the reservoir."""
    caption, settings = ordered(1, 2), Negatives(mode="rs")
    assert negatives([caption], ["a"], settings, 0, 0) == [[]]
    [found] = negatives([caption], ["a"], settings, 0, 0, [OTHER])
    assert all("siren wails" in changed.descriptions for changed in found)
    assert len(found) == 24
    [found, _] = negatives([caption, ordered(1)], ["a", "b"], settings, 0, 0, [OTHER])
    assert len(found) == 24
    [found, _] = negatives([caption, TemporalCaption((("owl hoots", 1),))], ["a", "b"], settings, 0, 0, [OTHER])
    assert not any("siren wails" in changed.descriptions for changed in found)


def test_seed_epoch_and_sample_fix_the_draw() -> None:
    """The same three draw the same, whatever was drawn before; another of any draws otherwise."""
    caption, settings = ordered(1, 2, 3, 4, 5), Negatives()

    def draw(seed: int, epoch: int, sample: str) -> list[str]:
        return [str(found) for found in negatives([caption, OTHER], [sample, "b"], settings, seed, epoch)[0]]

    assert draw(1, 2, "a") == draw(1, 2, "a")
    assert len({tuple(draw(*key)) for key in [(1, 2, "a"), (2, 2, "a"), (1, 3, "a"), (1, 2, "c")]}) == 4


def test_shuffles_are_even() -> None:
    """Each of the five shuffles of three events comes up about as often as any other."""
    rng = np.random.default_rng(7)
    counts = Counter(str(shuffles(ordered(1, 2, 3), 1, rng)[0]) for _ in range(2000))
    assert len(counts) == 5
    assert min(counts.values()) > 320
