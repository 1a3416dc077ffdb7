"""Settings of captioning, and texts as numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from caption_files import ALIGNMENT, TINY, settings_of, train, write_corpus
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.errors import UserError
from workflow_scripts.models.captioners import BART_TOKENS, WORD_TOKENS, new_bart
from workflow_scripts.training.schedules import Constant, Exponential, Steps
from workflow_scripts.training.systems.captioner import System
from workflow_scripts.training.systems.captioner.network import build, texts_of
from workflow_scripts.training.systems.captioner.texts import MARKS, Words, collate, normal, truncate

torch.set_num_threads(1)
WORD = st.text("abcdefgh'-", min_size=1, max_size=5).filter(lambda word: word.strip("'-"))
TEXT = st.lists(WORD, min_size=1, max_size=8).map(lambda words: normal(" ".join(words)))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("clips"))


# Settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimisation": {"schedule": {"kind": "steps", "warm_up": 15}}}, "15 lies within the warm-up of 15 epochs"),
        ({"alignment": {"normalize": "none"}}, "without a lower bound"),
        ({"predict_splits": ["validation"]}, "choose by a split of its own"),
        ({"validation_split": None}, "needs a validation_split"),
        ({"select_by": "spider"}, "select_by"),
        ({"optimisation": {"average_from": 3}}, "only 2"),
        ({"search": {"min_length": 20}}, "not below max_length 20"),
        ({"captioner": {"heads": 3}}, "3 heads do not share 16 dims"),
        ({"captioner": {"pretrained": "bart_base"}}, "a pretrained BART has its own"),
        ({"alignment": {"temprature": 1}}, "did you mean 'temperature'"),
        ({"optimisation": {"schedule": {"kind": "steps", "milestone": [3]}}}, "milestone"),
        ({"encoder": {"kind": "panns", "size": "cnn12"}}, "encoder"),
    ],
)
def test_mistakes_in_settings(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        System.check(settings_of(**changes), "toy")


def test_alignment_needs_an_encoder_of_texts() -> None:
    with pytest.raises(UserError, match="alignment needs the captioner 'bart'"):
        System.check(settings_of("gru", alignment=ALIGNMENT), "toy")


def test_a_loss_with_the_positive_has_a_bound() -> None:
    alignment = {"normalize": "none", "include_positive": True}
    assert System.check(settings_of(alignment=alignment), "toy").alignment is not None


def test_assets_are_those_of_both_networks() -> None:
    full = {"encoder": {"kind": "panns", "checkpoint": "cnn14"}, "captioner": {"kind": "bart", "pretrained": "b"}}
    assert System.check(full, "x").assets == ("cnn14", "b_config", "b_weights", "b_vocabulary", "b_merges")
    assert System.check(settings_of(), "x").assets == ()


def test_settings_survive_their_own_dump() -> None:
    full = {"encoder": {"kind": "panns"}, "captioner": {"kind": "bart", "pretrained": "b"}, "alignment": {}}
    system = System.check(full, "x")
    assert System.check(json.loads(json.dumps(system.model_dump(mode="json"))), "x") == system
    defaults = system.optimisation
    assert (defaults.learning_rate, defaults.weight_decay, defaults.batch, defaults.epochs) == (1e-5, 1e-6, 24, 30)
    assert system.alignment is not None and system.alignment.negatives.k == 24


@given(
    steps=st.integers(1, 500),
    epochs=st.integers(1, 40),
    schedule=st.one_of(
        st.just(Constant()),
        st.builds(
            lambda w, m: Steps(kind="steps", warm_up=w, milestones=m), st.floats(0, 9), st.lists(st.integers(10, 40))
        ),
        st.builds(lambda w: Exponential(kind="exponential", warm_up=w, final=1e-4), st.integers(0, 600)),
    ),
)
def test_rates_stay_within_their_peak(steps: int, epochs: int, schedule: Constant | Steps | Exponential) -> None:
    rates = [schedule.rate(0.1, step, steps, epochs) for step in range(steps)]
    assert all(0 < rate <= 0.1 + 1e-12 for rate in rates)
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)


def test_schedules() -> None:
    steps = Steps(kind="steps", warm_up=5, milestones=[15, 25])
    assert [steps.rate(1, step, 300, 30) for step in (0, 49, 149, 150, 250)] == pytest.approx([0.02, 1, 1, 0.1, 0.01])
    falling = Exponential(kind="exponential", warm_up=100, final=1e-4)
    found = [falling.rate(1e-2, step, 300, 30) for step in (0, 99, 100, 200, 299)]
    assert found == pytest.approx([1e-4, 1e-2, 1e-2, 1e-3, 1e-4 * 100 ** (1 / 200)])


# Texts


@given(texts=st.lists(TEXT, min_size=1, max_size=6), bart=st.booleans())
def test_captions_survive_their_numbers(texts: list[str], bart: bool) -> None:
    words = Words(texts, BART_TOKENS, MARKS) if bart else Words(texts, WORD_TOKENS)
    for text in texts:
        numbers = words.encode(text)
        assert words.decode(numbers) == text
        assert numbers[-1] == words.tokens.end and max(numbers) < words.size
        assert words.decode([*numbers, 7, 8]) == text
        assert (numbers[0] == 0) == bart
    assert collate([words.encode(text) for text in texts], words.tokens.pad).shape[0] == len(texts)


def test_special_numbers() -> None:
    bart, words = Words(["b a"], BART_TOKENS, MARKS), Words(["b a"], WORD_TOKENS)
    assert bart.encode("a new")[0] == 0 and bart.encode("a new")[-2:] == [3, 2]
    assert words.encode("a b new") == [4, 5, 3, 2] and words.size == 6
    assert words.decode([1, 0, 4, 3, 5, 2]) == "a b"
    assert 3 not in bart.encode("a: 1; b: background")
    assert truncate([4, 5, 6, 2], 3) == [4, 5, 2] and truncate([4, 2], 3) == [4, 2]


def test_captions_without_and_with_punctuation() -> None:
    said = "  A dog's bark,\tthen Rain - heavy!"
    assert normal(said) == "a dog's bark then rain heavy"
    assert normal(said, False) == "a dog's bark, then rain - heavy!"
    kept = Words([normal(said, False)], WORD_TOKENS)
    assert kept.decode(kept.encode("a dog's bark, then rain!")) == "a dog's bark, then rain!"


def bart_assets(folder: Path) -> dict[str, Path]:
    """A generated BART of 23 tokens: the letters of two words, and two of their pairs."""
    pairs = ("Ġ", "do", "dog", "Ġb", "Ġba", "rk", ":", ";", "Ġ1", "<mask>")
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *"abdgkrso1", *pairs]
    (folder / "v.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "m.txt").write_text("#version: 0.2\nd o\ndo g\nĠ b\nĠb a\nr k\nĠ 1\n")
    torch.manual_seed(5)
    bart = new_bart(len(tokens), dims=16, layers=1, heads=2, hidden=32, longest=32)
    bart.save_pretrained(folder / "bart")
    names = {
        "config": "bart/config.json",
        "weights": "bart/model.safetensors",
        "vocabulary": "v.json",
        "merges": "m.txt",
    }
    return {f"tiny_{part}": folder / name for part, name in names.items()}


def test_a_pretrained_bart_brings_its_weights_and_pieces(corpus: Path, tmp_path: Path) -> None:
    assets = bart_assets(tmp_path)
    system = System.check({"encoder": {"kind": "features"}, "captioner": {"kind": "bart", "pretrained": "tiny"}}, "x")
    texts = texts_of(system, [], assets)
    assert texts.encode("dog bark") == [0, 15, 17, 18, 2]
    assert texts.decode([0, 15, 17, 18, 2, 15]) == "dog bark"
    network = build(system, 8, texts, [], assets, 0)
    torch.manual_seed(5)
    first = new_bart(23, dims=16, layers=1, heads=2, hidden=32, longest=32).model.shared.weight
    assert torch.equal(network.captioner.get_parameter("bart.model.shared.weight"), first)
    changes: dict[str, Any] = {"optimisation": {"epochs": 1}, "search": {"max_length": 8}, "alignment": ALIGNMENT}
    changes |= {"captioner": {"pretrained": "tiny"}, "assets": assets}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TINY, "pieces", {"kind": "bart"})
        assert train(corpus, tmp_path, "pieces", [0], **changes)["vocabulary"] == 23
    with pytest.raises(UserError, match="add tiny_merges"):
        texts_of(system, [], {name: path for name, path in assets.items() if name != "tiny_merges"})
