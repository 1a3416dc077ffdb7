"""Normalisation and augmentation of the features of sounds, and the loss of mixed clips."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from workflow_scripts.errors import UserError
from workflow_scripts.training.systems.audio_classifier.augmentation import (
    Mix,
    Preparation,
    Statistics,
    cross_entropy,
    draw_mix,
    mixed,
    rolled,
)
from workflow_scripts.training.systems.audio_classifier.settings import Augmentation

CLIPS, FRAMES, BINS = 16, 20, 12
STATISTICS = Statistics(-4.0, 2.5)
NONE: dict[str, Any] = {"freq_mask": 0, "time_mask": 0}


@pytest.fixture(autouse=True)
def fixed_numbers() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def features() -> torch.Tensor:
    """Log-mel-like features, none of them 0."""
    return -4 + 2.5 * torch.rand(CLIPS, FRAMES, BINS)


def preparation(normalisation: str = "ast", **augmentation: Any) -> Preparation:
    return Preparation(normalisation, STATISTICS, Augmentation.check(NONE | augmentation, "toy"))


def test_normalisations() -> None:
    x = features()
    assert torch.allclose(preparation("ast").normalised(x), (x + 4) / 5)
    assert torch.allclose(preparation("standard").normalised(x), (x + 4) / 2.5)
    assert torch.equal(Preparation("none", None, Augmentation()).normalised(x), x)
    own = preparation("clip").normalised(x)
    assert torch.allclose(own.mean((1, 2)), torch.zeros(CLIPS), atol=1e-5)
    assert torch.allclose(own.std((1, 2)), torch.ones(CLIPS), atol=1e-5)
    assert not preparation("clip").normalised(torch.full((1, FRAMES, BINS), -7.0)).any()  # silence stays finite


def test_without_augmentation_training_clips_are_as_others() -> None:
    x = features()
    augmented, mix = preparation().augmented(x)
    assert mix is None and torch.equal(augmented, preparation().normalised(x))


@settings(max_examples=50)
@given(freq_mask=st.integers(0, BINS), time_mask=st.integers(0, FRAMES), seed=st.integers(0, 999))
def test_masks_are_a_band_and_a_stretch(freq_mask: int, time_mask: int, seed: int) -> None:
    torch.manual_seed(seed)
    x = features()
    masked = preparation().masked(x)
    assert torch.equal(masked, x)
    masked = preparation(freq_mask=freq_mask, time_mask=time_mask).masked(x)
    gone = masked == 0
    assert torch.equal(masked[~gone], x[~gone])
    for lost in gone:
        bins, frames = lost.all(0), lost.all(1)
        assert torch.equal(lost, bins[None] | frames[:, None])
        for line, longest in ((bins, freq_mask), (frames, time_mask)):
            places = line.nonzero().flatten()
            if line.all():  # one of the masks takes all, the other cannot be told
                continue
            assert len(places) <= longest and (len(places) == 0 or places[-1] - places[0] + 1 == len(places))


def test_every_clip_has_a_mask_of_its_own() -> None:
    gone = preparation(freq_mask=BINS, time_mask=FRAMES).masked(features()) == 0
    assert len({bytes(lost.numpy()) for lost in gone}) > CLIPS / 2


@pytest.mark.parametrize(("value", "filled"), [("zero", 4 / 5), ("mean", 0.0)])
def test_what_replaces_masked_features(value: str, filled: float) -> None:
    augmented, _ = preparation(time_mask=FRAMES, mask_value=value).augmented(features())
    plain = preparation().normalised(torch.full((1,), -4.0)).item()
    assert plain == 0
    torch.manual_seed(0)
    same = preparation().normalised(features())
    changed = augmented[augmented != same]
    assert len(changed) > FRAMES * BINS and torch.allclose(changed, torch.tensor(filled))


def test_a_mask_larger_than_the_features_is_refused() -> None:
    preparation(freq_mask=BINS, time_mask=FRAMES).check(FRAMES, BINS)
    with pytest.raises(UserError, match=r"augmentation.freq_mask: 13 is more than the 12"):
        preparation(freq_mask=BINS + 1).check(FRAMES, BINS)
    with pytest.raises(UserError, match=r"augmentation.time_mask: 21 is more than the 20"):
        preparation(time_mask=FRAMES + 1).check(FRAMES, BINS)


def test_noise_is_added_up_to_its_amplitude() -> None:
    x = features()
    added = preparation(noise=0.1).augmented(x)[0] - preparation().normalised(x)
    largest = added.amax((1, 2))
    assert added.min() >= -1e-6 and largest.max() <= 0.1 + 1e-6
    assert 0.02 < largest.mean() < 0.08 and largest.std() > 0.01  # each clip has an amplitude of its own


@pytest.mark.parametrize("chance", [0.0, 0.3, 1.0])
def test_which_clips_are_mixed(chance: float) -> None:
    mix = draw_mix(torch.zeros(2000, 1, 1), Augmentation(mixup=chance))
    shares = mix.share[mix.share < 1]
    assert len(shares) / 2000 == pytest.approx(chance, abs=0.04)
    assert sorted(mix.partner.tolist()) == list(range(2000))
    if chance:  # the deviation of Beta(10, 10)
        assert shares.mean() == pytest.approx(0.5, abs=0.02) and shares.std() == pytest.approx(0.109, abs=0.01)


def test_mixed_features_are_weighted_sums() -> None:
    x = features()
    augmented, mix = preparation(mixup=0.5).augmented(x)
    assert mix is not None
    plain = preparation().normalised(x)
    for clip in range(CLIPS):
        share = mix.share[clip]
        expected = share * plain[clip] + (1 - share) * plain[mix.partner[clip]]
        assert torch.allclose(augmented[clip], expected, atol=1e-5)
    untouched = Mix(mix.partner, torch.ones(CLIPS), torch.ones(CLIPS, 1, 1))
    assert torch.equal(mixed(x, untouched), x)


@given(smoothing=st.sampled_from([0.0, 0.1]), seed=st.integers(0, 99))
def test_loss_is_that_of_soft_targets(smoothing: float, seed: int) -> None:
    """Summed over the heads; the target of a mixed clip is that of both clips by their shares."""
    torch.manual_seed(seed)
    sizes = {"verb": 3, "noun": 5}
    logits = {head: torch.randn(CLIPS, size) for head, size in sizes.items()}
    targets = torch.stack([torch.randint(size, (CLIPS,)) for size in sizes.values()], 1)
    mix = draw_mix(features(), Augmentation(mixup=0.5))
    for given_mix, share in ((None, torch.ones(CLIPS)), (mix, mix.share)):
        expected = torch.zeros(())
        for column, (head, size) in enumerate(sizes.items()):
            sharp = functional.one_hot(targets[:, column], size).float()
            soft = share[:, None] * sharp + (1 - share[:, None]) * sharp[mix.partner]
            soft = (1 - smoothing) * soft + smoothing / size
            expected = expected - (soft * logits[head].log_softmax(1)).sum(1).mean()
        others = None if given_mix is None else targets[given_mix.partner]
        given_share = None if given_mix is None else share
        assert cross_entropy(logits, targets, others, given_share, smoothing).item() == pytest.approx(
            expected.item(), rel=1e-5
        )


@settings(max_examples=50)
@given(largest=st.integers(1, 3 * FRAMES), seed=st.integers(0, 999))
def test_rolling_moves_each_clip_by_at_most_so_many_frames(largest: int, seed: int) -> None:
    torch.manual_seed(seed)
    x = features()
    shifts = []
    for before, after in zip(x, rolled(x, largest), strict=True):
        found = [step for step in range(-largest, largest + 1) if torch.equal(before.roll(step, 0), after)]
        assert found
        shifts.append(found[0])
    assert len(set(shifts)) > 1
    moved, _ = preparation(time_shift=largest).augmented(x)
    assert not torch.equal(moved, preparation().normalised(x))
