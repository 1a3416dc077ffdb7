"""The sound bank: what it draws, that it is reproducible, and that splits share nothing."""

import time
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from composed.sounds import recordings, speech
from composed.sounds.bank import CALLS, CONTINUOUS, SAMPLE_RATE, SoundBank
from composed.sounds.recordings import Segment
from composed.tools import recognise
from workflow_scripts.errors import UserError

SPLITS = ["weak", "unlabelled", "validation", "test"]
CLASSES = list(recognise.FITTING)
SUSTAINED = ["Alarm_bell_ringing", "Blender", "Electric_shaver_toothbrush", "Frying", "Running_water", "Vacuum_cleaner"]


@pytest.fixture(scope="module")
def assets(asset: Callable[[str], Path]) -> dict[str, Path]:
    names = [*(name for name, _ in CALLS.values()), *CONTINUOUS.values()]
    return {name: asset(name) for name in [*names, "yamnet_index", "yamnet_weights", "yamnet_classes"]}


@pytest.fixture(scope="module")
def bank(assets: dict[str, Path]) -> SoundBank:
    return SoundBank(assets, SPLITS, seed=1)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_it_has_the_classes_and_more(bank: SoundBank) -> None:
    assert set(CLASSES) <= set(bank.names)
    assert {"cow", "owl", "duck", "frog", "pig", "rooster", "sheep", "horse", "gong", "bell", "train", "rain"} <= set(
        bank.names
    )


@pytest.mark.parametrize("sound", CLASSES)
def test_an_event_fills_its_array(bank: SoundBank, sound: str) -> None:
    for seed in range(6):
        audio = bank.draw(sound, "weak", rng(seed), seconds=2)
        assert audio.dtype == np.float32
        assert np.isfinite(audio).all()
        assert np.abs(audio).max() == pytest.approx(1, abs=1e-5)
        assert np.abs(audio[0]) > 0.01
        assert np.abs(audio[-1]) > 0.01


@pytest.mark.parametrize("sound", SUSTAINED)
@pytest.mark.parametrize("seconds", [0.5, 8.0])
def test_a_sustained_sound_lasts_as_long_as_wished(bank: SoundBank, sound: str, seconds: float) -> None:
    length = len(bank.draw(sound, "test", rng(), seconds)) / SAMPLE_RATE
    # A beeper ends with its last whole beep.
    assert 0.4 * seconds < length <= seconds + 1e-3 if sound == "Alarm_bell_ringing" else abs(length - seconds) < 0.08


@pytest.mark.parametrize("sound", ["Cat", "Dog", "Dishes", "Speech", "cow"])
def test_calls_come_near_the_wish(bank: SoundBank, sound: str) -> None:
    short, long = (
        np.median([len(bank.draw(sound, "weak", rng(i), seconds)) for i in range(9)]) / SAMPLE_RATE
        for seconds in (0.8, 5.0)
    )
    assert 0.1 < short < 1.9
    assert 2.5 < long < 6.5


@pytest.mark.parametrize("sound", [*CLASSES, "rain", "gong", "bell", "train", "pig"])
def test_a_draw_follows_from_seed_and_generator(assets: dict[str, Path], bank: SoundBank, sound: str) -> None:
    again = SoundBank(assets, SPLITS, seed=1)
    first = bank.draw(sound, "weak", rng(5), 1)
    np.testing.assert_array_equal(first, again.draw(sound, "weak", rng(5), 1))
    for other in (
        bank.draw(sound, "weak", rng(6), 1),
        SoundBank(assets, SPLITS, seed=2).draw(sound, "weak", rng(5), 1),
    ):
        assert len(other) != len(first) or not np.allclose(other, first)


@pytest.mark.parametrize("sound", CLASSES)
def test_splits_draw_differently_from_equal_generators(bank: SoundBank, sound: str) -> None:
    draws = [bank.draw(sound, split, rng(3), 1) for split in SPLITS]
    for one, other in combinations(draws, 2):
        assert len(one) != len(other) or not np.allclose(one, other)


@pytest.mark.parametrize("sound", ["Dog", "cow", "pig", "rooster", *CONTINUOUS])
def test_splits_share_no_part_of_a_recording(bank: SoundBank, sound: str) -> None:
    dealt = bank.segments(sound)
    assert list(dealt) == SPLITS
    assert all(dealt.values())
    everything = sorted((s for segments in dealt.values() for s in segments), key=lambda s: s.start)
    assert all(one.stop <= other.start for one, other in pairwise(everything))


def test_the_dog_has_a_dozen_barks(bank: SoundBank) -> None:
    assert all(len(segments) >= 3 for segments in bank.segments("Dog").values())


segment_lists = st.lists(st.tuples(st.integers(0, 50_000), st.integers(2600, 90_000)), min_size=1, max_size=12).map(
    lambda gaps: [
        Segment(sum(g + n for g, n in gaps[:i]) + gap, sum(g + n for g, n in gaps[:i]) + gap + length)
        for i, (gap, length) in enumerate(gaps)
    ]
)


@settings(max_examples=100, deadline=None)
@given(segments=segment_lists, splits=st.integers(1, 6))
def test_dealing_shares_nothing_and_loses_nothing(segments: list[Segment], splits: int) -> None:
    names = [f"split {i}" for i in range(splits)]
    dealt = recordings.deal(segments, names)
    if not dealt:
        assert len(segments) < splits
        return
    parts = sorted((s for owned in dealt.values() for s in owned), key=lambda s: s.start)
    assert all(dealt[name] for name in names)
    assert all(one.stop <= other.start for one, other in pairwise(parts))
    assert sum(s.stop - s.start for s in parts) == sum(s.stop - s.start for s in segments)


def test_splits_share_no_voice() -> None:
    voices = speech.speakers(SPLITS, per_split=6, seed=0)
    variants = [[voice.name.split("+")[1] for voice in speakers] for speakers in voices.values()]
    assert [len(set(names)) for names in variants] == [6] * 4
    assert not any(set(one) & set(other) for one, other in combinations(variants, 2))


def test_a_voice_speaks_alike_in_every_process() -> None:
    voice = speech.speakers(["one"], per_split=1, seed=3)["one"]
    first, second = speech.spoken(voice, seed=1), speech.spoken(voice, seed=1)
    for one, other in zip(first[0], second[0], strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_unknown_voice_is_refused() -> None:
    with pytest.raises(UserError, match="no-such-language"):
        speech.spoken([speech.Voice("no-such-language", 170, 50, 50)], seed=0)


@pytest.mark.parametrize(
    ("sound", "split", "message"),
    [
        ("Vacuum_cleanr", "weak", "did you mean 'Vacuum_cleaner'"),
        ("Dog", "tests", "did you mean 'test'"),
        ("sheep", "weak", "too short for the 4 splits"),
    ],
)
def test_a_wrong_draw_is_one_sentence(bank: SoundBank, sound: str, split: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        bank.draw(sound, split, rng())


def test_a_missing_recording_is_named() -> None:
    with pytest.raises(UserError, match="--asset dog_recording=PATH"):
        SoundBank({}, SPLITS, seed=0).draw("Dog", "weak", rng())


def test_something_that_is_no_recording_is_named(tmp_path: Path) -> None:
    (tmp_path / "dog.mp3").write_text("not a recording", encoding="utf-8")
    with pytest.raises(UserError, match=r"dog\.mp3: not a readable recording"):
        SoundBank({"dog_recording": tmp_path / "dog.mp3"}, SPLITS, seed=0).draw("Dog", "weak", rng())


def test_the_background_is_quiet_and_steady(bank: SoundBank) -> None:
    audio = bank.background("weak", rng(), seconds=3)
    assert len(audio) == 3 * SAMPLE_RATE
    assert 0.001 < audio.std() < 0.02
    assert np.abs(audio).max() < 0.1
    assert not np.allclose(audio, bank.background("test", rng(), seconds=3))


def test_the_sounds_are_recognised(assets: dict[str, Path]) -> None:
    """A small version of the measurement in docs/recognisable.md."""
    listener = recognise.Listener(assets)
    bank = SoundBank(assets, ["train", "test"], seed=0)
    train, test = (recognise.listen(bank, listener, split, draws=4, seed=1) for split in bank.splits)
    scores = np.concatenate([train[0], test[0]], axis=1)
    heard = dict(zip(CLASSES, recognise.in_top_ten(scores, listener.labels), strict=True))
    assert min(heard.values()) >= 0.75, heard
    assert recognise.nearest_centroid(train[1], test[1]).mean() >= 0.85


def test_a_voice_with_breath_says_the_same_at_another_time() -> None:
    """eSpeak NG would seed such a voice's noise with the time of day, in whole seconds."""
    voice = speech.Voice("en+f5", 160, 50, 50)
    first = speech.pool_of(voice, 0)
    time.sleep(1.1)
    for one, other in zip(first, speech.pool_of(voice, 0), strict=True):
        np.testing.assert_array_equal(one, other)
