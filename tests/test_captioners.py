"""The four captioners: sizes, padding, causality, one step, and beam search against all captions there are."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from workflow_scripts.errors import UserError
from workflow_scripts.models.caption_decoders import (
    Search,
    SpecialTokens,
    beam_search,
    caption_loss,
    shift_right,
    sinusoids,
)
from workflow_scripts.models.captioners import BartCaptioner, Captioner, build, new_bart, pretrained_bart
from workflow_scripts.models.panns import length_mask

torch.set_num_threads(1)
DIMS, VOCABULARY = 12, 23
SMALL: dict[str, dict[str, Any]] = {
    "bart": {"kind": "bart", "dims": 16, "layers": 2, "heads": 2, "hidden": 32, "longest": 40, "init_std": 0.2},
    "gru": {"kind": "gru", "hidden": 8, "layers": 2, "width": 16, "heads": 2},
    "gru-gru": {"kind": "gru", "decoder": "gru", "hidden": 8, "layers": 1, "width": 16},
    "transformer": {"kind": "transformer", "width": 16, "heads": 2, "hidden": 32},
}
TOY = SpecialTokens(pad=0, start=1, end=2)


def small(kind: str) -> Captioner:
    torch.manual_seed(0)
    return build(SMALL[kind], DIMS, VOCABULARY).eval()


def batch() -> tuple[Tensor, Tensor]:
    """Features of three clips and their mask."""
    torch.manual_seed(1)
    return torch.randn(3, 7, DIMS), length_mask(torch.tensor([7, 3, 1]), 7)


def captions(captioner: Captioner) -> Tensor:
    pad, _, end = captioner.tokens
    return torch.tensor([[5, 6, 7, 8, end], [9, end, pad, pad, pad], [4, 4, end, pad, pad]])


@pytest.mark.parametrize("kind", SMALL)
def test_padding_changes_nothing(kind: str) -> None:
    captioner = small(kind)
    (features, mask), texts = batch(), captions(captioner)
    logits, states = captioner(features, mask, texts)
    assert logits.shape == (3, 5, VOCABULARY)
    assert states.shape[:2] == (3, 5)
    poisoned = features.masked_fill(~mask[..., None], 99.0)
    assert torch.allclose(captioner(poisoned, mask, texts).logits, logits, atol=1e-5)
    alone = captioner(features[1:2, :3], mask[1:2, :3], texts[1:2, :2])
    assert torch.allclose(alone.logits, logits[1:2, :2], atol=1e-5)
    assert torch.allclose(alone.states, states[1:2, :2], atol=1e-5)


@pytest.mark.parametrize("kind", SMALL)
def test_a_token_is_told_from_those_before_it_and_from_the_sound(kind: str) -> None:
    captioner = small(kind)
    (features, mask), texts = batch(), captions(captioner)
    logits = captioner(features, mask, texts).logits
    other = texts.clone()
    other[0, 2] = 11
    changed = (captioner(features, mask, other).logits - logits)[0].abs().amax(1) > 1e-6
    assert changed.tolist() == [False, False, False, True, True]
    louder = captioner(features * torch.linspace(1, 2, 7)[:, None], mask, texts).logits
    assert (louder - logits)[0].abs().amax() > 1e-6


@pytest.mark.parametrize("kind", SMALL)
def test_steps_train_every_weight_and_lower_the_loss(kind: str) -> None:
    captioner = small(kind).train()
    (features, mask), texts = batch(), captions(captioner)
    optimiser = torch.optim.Adam(captioner.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = caption_loss(captioner(features, mask, texts).logits, texts, captioner.tokens.pad)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in captioner.parameters())
    assert losses[-1] < 0.6 * losses[0]


def test_the_loss_is_the_mean_over_tokens() -> None:
    logits, texts = torch.randn(2, 3, 5), torch.tensor([[3, 4, 2], [2, 0, 0]])
    rows = logits.log_softmax(2)
    each = [-rows[0, 0, 3], -rows[0, 1, 4], -rows[0, 2, 2], -rows[1, 0, 2]]
    assert torch.allclose(caption_loss(logits, texts, pad=0), torch.stack(each).mean())
    assert caption_loss(logits, texts, 0, smoothing=0.1) != caption_loss(logits, texts, 0)
    assert shift_right(texts, 1).tolist() == [[1, 3, 4], [1, 2, 0]]


def test_places_are_known_by_sines() -> None:
    table = sinusoids(5, 4)
    assert table[0].tolist() == [0, 1, 0, 1]
    angles = torch.tensor([3, 3, 0.03, 0.03])
    assert torch.allclose(table[3], torch.where(torch.tensor([True, False] * 2), angles.sin(), angles.cos()), atol=1e-6)


@pytest.mark.parametrize("kind", ["gru", "gru-gru", "transformer"])
def test_scheduled_sampling_mixes_the_captioners_own_words_in(kind: str) -> None:
    captioner = small(kind)
    (features, mask), texts = batch(), captions(captioner)
    memory, inputs = captioner.encode(features, mask), shift_right(texts, captioner.tokens.start)
    assert torch.equal(captioner.scheduled_sampling(memory, mask, inputs, 1.0), inputs)
    own = captioner.scheduled_sampling(memory, mask, inputs, 0.0)
    assert torch.equal(own[:, 0], inputs[:, 0])
    greedy = captioner.decode(memory, mask, own).logits.argmax(2)
    assert torch.equal(own[:, 1:], greedy[:, :-1])
    assert torch.equal(
        captioner(features, mask, texts, teacher_forcing=0.0).logits, captioner.decode(memory, mask, own).logits
    )


class Toy:
    """Logits of a vocabulary of six by the whole prefix, as random as they are fixed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def row(self, prefix: tuple[int, ...]) -> Tensor:
        key = self.seed
        for token in prefix:
            key = (key * 31 + token + 7) % 2**31
        return 2 * torch.randn(6, generator=torch.Generator().manual_seed(key))

    def __call__(self, prefixes: Tensor) -> Tensor:
        return torch.stack([self.row(tuple(prefix)) for prefix in prefixes.tolist()])

    def score(self, words: tuple[int, ...], penalty: float) -> float:
        prefixes = [(TOY.start, *words[:place]) for place in range(len(words))]
        logs = [self.row(prefix).log_softmax(0)[word] for prefix, word in zip(prefixes, words, strict=True)]
        return float(sum(logs)) / len(words) ** penalty


def every_caption(longest: int, shortest: int) -> list[tuple[int, ...]]:
    """All captions of the toy vocabulary that end, or are `longest` tokens long."""
    words = [token for token in range(6) if token not in (TOY.pad, TOY.end)]
    ended = [(*body, TOY.end) for n in range(shortest, longest) for body in itertools.product(words, repeat=n)]
    return ended + list(itertools.product(words, repeat=longest))


def found(toy: Toy, search: Search) -> tuple[int, ...]:
    (row,) = beam_search(toy, 1, TOY, search).tolist()
    return tuple(row)


@given(st.integers(0, 10**6), st.integers(0, 2), st.sampled_from([0.0, 0.7, 1.0]))
@settings(max_examples=15)
def test_a_wide_beam_finds_the_best_of_all_captions(seed: int, shortest: int, penalty: float) -> None:
    toy = Toy(seed)
    best = max(every_caption(3, shortest), key=lambda words: toy.score(words, penalty))
    assert found(toy, Search(200, shortest, 3, penalty, 0)) == best


@given(st.integers(0, 10**6), st.integers(1, 4))
@settings(max_examples=15)
def test_a_narrow_beam_finds_captions_that_are_allowed(seed: int, beam: int) -> None:
    toy = Toy(seed)
    words = found(toy, Search(beam, 1, 6, 1.0, 2))
    assert 2 <= len(words) <= 6
    assert TOY.end not in words[:-1]
    assert TOY.pad not in words
    pairs = list(itertools.pairwise((TOY.start, *words)))
    assert len(set(pairs)) == len(pairs)
    if beam == 1:
        greedy = [TOY.start]
        while greedy[-1] != TOY.end and len(greedy) < 7:
            logits = toy.row(tuple(greedy))
            logits[TOY.pad] = -torch.inf
            greedy.append(int(logits.argmax()))
        assert found(toy, Search(1, 0, 6, 1.0, 0)) == tuple(greedy[1:])


@pytest.mark.parametrize("kind", ["gru", "gru-gru", "transformer"])
def test_captions_of_a_batch_are_those_of_each_clip(kind: str) -> None:
    captioner = small(kind)
    features, mask = batch()
    batched = captioner.generate(features, mask, max_length=9, min_length=2)
    assert batched.shape[0] == 3
    for clip, row in enumerate(batched.tolist()):
        alone = captioner.generate(features[clip : clip + 1], mask[clip : clip + 1], max_length=9, min_length=2)[0]
        assert [t for t in row if t != captioner.tokens.pad] == alone.tolist()


@pytest.mark.parametrize("beam", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_shared_search_agrees_with_that_of_transformers(seed: int, beam: int, monkeypatch: Any) -> None:
    monkeypatch.setattr("workflow_scripts.models.captioners.BART_BOS", None)  # no token is forced to be first
    torch.manual_seed(seed)
    captioner = build(SMALL["bart"] | {"init_std": 0.6}, DIMS, VOCABULARY).eval()
    captioner.bart.final_logits_bias[:, captioner.tokens.pad] = -1e4
    features, mask = batch()
    keywords = {"beam": beam, "min_length": 2, "max_length": 8, "no_repeat_ngram": 2}
    theirs = captioner.generate(features, mask, **keywords)
    ours = Captioner.search(captioner, features, mask, Search(**keywords))
    pad = captioner.tokens.pad
    rows = [[[t for t in row if t != pad] for row in found.tolist()] for found in (theirs, ours)]
    assert rows[0] == rows[1]


def test_captions_of_bart_begin_with_its_first_token() -> None:
    captioner = small("bart")
    features, mask = batch()
    first = captioner.generate(features, mask, max_length=9)
    assert first[:, 0].tolist() == [0, 0, 0]
    assert first.shape[1] <= 9
    assert all(2 not in row[:4] for row in first.tolist())
    assert torch.equal(captioner.generate(features, mask, max_length=9), first)


def test_pretrained_bart_is_read_from_a_folder(tmp_path: Path) -> None:
    bart = new_bart(vocabulary=30, dims=16, layers=1, heads=2, hidden=32, longest=20)
    bart.save_pretrained(tmp_path / "bart")
    captioner = build({"kind": "bart", "checkpoint": str(tmp_path / "bart"), "dropout": 0.35}, DIMS, 30)
    assert isinstance(captioner, BartCaptioner)
    expected = bart.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in captioner.bart.state_dict().items())
    assert captioner.bart.config.dropout == captioner.bart.model.decoder.layers[0].dropout == 0.35
    assert captioner.adapt.weight.shape == (16, DIMS)
    assert captioner.bart.lm_head.weight is captioner.bart.model.shared.weight

    with pytest.raises(UserError, match=r"nowhere.*fetch it again"):
        pretrained_bart(tmp_path / "nowhere")
    weights = tmp_path / "bart" / "model.safetensors"
    torch.save(expected, tmp_path / "bart" / "pytorch_model.bin")  # pickled weights are never read
    kept = weights.read_bytes()
    weights.unlink()
    with pytest.raises(UserError, match="safetensors"):
        pretrained_bart(tmp_path / "bart")
    weights.write_bytes(kept)
    config = tmp_path / "bart" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"encoder_layers": 2}))
    with pytest.raises(UserError, match=r"encoder\.layers\.1.*is missing"):
        pretrained_bart(tmp_path / "bart")


def test_word_vectors_stay_as_they_are() -> None:
    vectors = torch.randn(VOCABULARY, 16)
    captioner = build(SMALL["transformer"] | {"embeddings": vectors}, DIMS, VOCABULARY)
    weight = captioner.decoder.embedding.weight
    assert torch.equal(weight, vectors)
    assert not weight.requires_grad


@pytest.mark.parametrize(
    ("kind", "dims", "vocabulary", "parameters"),
    [
        # bart-base and the layer in front of it
        ("bart", 2048, 50_265, 139_420_416 + 2048 * 768 + 768),
        # three layers of GRUs both ways; projection and its norm; words; two layers of 256 and 1024; classifier
        (
            "gru",
            2048,
            4368,
            2 * 3 * 256 * (2048 + 2 * 512 + 3 * 258)
            + (513 + 2) * 256
            + 2 * 4368 * 256
            + 2 * (8 * 256 * 257 + 1024 * 257 + 256 * 1025 + 6 * 256),
        ),
        # the CNN's last layer; projection; words; two layers of 128 and 2048; classifier
        (
            "transformer",
            512,
            4368,
            513 * 512 + 513 * 128 + 4368 * 128 + 2 * (8 * 128 * 129 + 2048 * 129 + 128 * 2049 + 6 * 128) + 4368 * 129,
        ),
    ],
)
def test_full_sizes_have_the_known_numbers_of_weights(kind: str, dims: int, vocabulary: int, parameters: int) -> None:
    with torch.device("meta"):
        captioner = build({"kind": kind}, dims, vocabulary)
    assert sum(p.numel() for p in captioner.parameters()) == parameters
    if kind == "bart":
        config = captioner.bart.config
        assert (config.dropout, config.attention_dropout, config.scale_embedding) == (0.2, 0.1, False)
        assert (config.bos_token_id, config.pad_token_id, config.decoder_start_token_id) == (0, 1, 2)


@pytest.mark.parametrize("kind", SMALL)
def test_half_precision_gives_nearly_the_same(kind: str) -> None:
    captioner = small(kind)
    (features, mask), texts = batch(), captions(captioner)
    exact = captioner(features, mask, texts).logits.detach()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = captioner(features, mask, texts).logits.float()
    assert torch.allclose(rounded, exact, atol=0.05 * float(exact.abs().max()))


def test_the_layer_behind_the_cnn_of_the_transformer_can_be_left_out() -> None:
    with torch.device("meta"):
        both, one = (build({"kind": "transformer", "encoder_width": units}, 512, 4368).adapter for units in (512, None))

    assert sum(p.numel() for p in both.parameters()) - sum(p.numel() for p in one.parameters()) == 513 * 512
    assert [type(layer).__name__ for layer in both.modules() if not list(layer.children())] == [
        *("Linear", "ReLU", "Dropout", "Linear", "ReLU")
    ]


def test_unknown_captioners_are_refused() -> None:
    with pytest.raises(UserError, match="use bart, gru or transformer"):
        build({"kind": "lstm"}, DIMS, VOCABULARY)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["bart", "gru", "transformer"])
def test_one_step_of_the_full_size_on_a_gpu(kind: str, dtype: torch.dtype) -> None:
    captioner = build({"kind": kind}, 2048, 50_265 if kind == "bart" else 4368).cuda().train()
    features, mask = torch.randn(4, 31, 2048, device="cuda"), torch.ones(4, 31, dtype=torch.bool, device="cuda")
    texts = torch.randint(3, 4000, (4, 12), device="cuda")
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        caption_loss(captioner(features, mask, texts).logits, texts, captioner.tokens.pad).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in captioner.parameters())
    assert captioner.eval().generate(features, mask, max_length=8).shape[0] == 4
