"""The alignment loss of Temp4Cap: similarities, the contrast of equation 3, eligibility, and context."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutput

from workflow_scripts.errors import UserError
from workflow_scripts.models.alignment import Alignment, Normalize, TextEncoder, contrast, pool
from workflow_scripts.models.caption_decoders import caption_loss
from workflow_scripts.models.captioners import BartCaptioner, new_bart

torch.set_num_threads(1)
PAD = 1


class Lookup(nn.Module):
    """An encoder without context: the embedding of each token."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.calls: list[int] = []

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> BaseModelOutput:
        self.calls.append(len(input_ids))
        return BaseModelOutput(last_hidden_state=self.embedding(input_ids))


@pytest.fixture(scope="module")
def contextual() -> TextEncoder:
    torch.manual_seed(0)
    bart = new_bart(vocabulary=20, dims=16, layers=2, heads=2, hidden=32, longest=32, init_std=0.3)
    return BartCaptioner(4, bart).text_encoder()


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 6))
def test_the_product_of_means_is_the_mean_over_all_pairs_of_tokens(seed: int, first: int, second: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(9, 5, generator=generator), torch.randn(8, 5, generator=generator)
    x_mask, y_mask = torch.arange(9) < first, torch.arange(8) < second
    pairs = (x[:first] @ y[:second].T).mean()  # equation 2
    assert torch.allclose(pool(x, x_mask, "none") @ pool(y, y_mask, "none"), pairs, atol=1e-5)
    cosines = torch.cosine_similarity(x[:first, None], y[None, :second], dim=2).mean()
    assert torch.allclose(pool(x, x_mask, "token") @ pool(y, y_mask, "token"), cosines, atol=1e-5)
    means = torch.cosine_similarity(x[:first].mean(0), y[:second].mean(0), dim=0)
    assert torch.allclose(pool(x, x_mask, "pooled") @ pool(y, y_mask, "pooled"), means, atol=1e-5)


@pytest.mark.parametrize("normalize", ["token", "pooled", "none"])
def test_padding_does_not_count(normalize: Normalize) -> None:
    states, mask = torch.randn(2, 6, 4), torch.arange(6) < torch.tensor([[2], [6]])
    poisoned = states.masked_fill(~mask[..., None], torch.nan)
    assert torch.equal(pool(poisoned, mask, normalize), pool(states, mask, normalize))
    assert torch.allclose(pool(states[:1, :2], mask[:1, :2], normalize), pool(states, mask, normalize)[:1])


@pytest.mark.parametrize(
    ("own", "false", "printed", "infonce"),
    [(0.5, 0.5, 3.178, 3.219), (0.6, 0.5, 1.749, 1.910), (0.9, 0.5, -2.536, 0.076), (1.0, -1.0, -25.393, 0.000)],
)
def test_values_of_equation_3(own: float, false: float, printed: float, infonce: float) -> None:
    positive, negatives = torch.tensor([own]), torch.full((1, 24), false)
    assert contrast(positive, negatives, 0.07, False).item() == pytest.approx(printed, abs=6e-4)
    assert contrast(positive, negatives, 0.07, True).item() == pytest.approx(infonce, abs=6e-4)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=9), st.floats(0.05, 1))
def test_bounds_of_equation_3(similarities: list[float], temperature: float) -> None:
    positive, negatives = torch.tensor(similarities[:1]), torch.tensor([similarities[1:]])
    printed = contrast(positive, negatives, temperature, False).item()
    infonce = contrast(positive, negatives, temperature, True).item()
    assert printed >= -2 / temperature + math.log(len(similarities) - 1) - 1e-4
    assert infonce >= -1e-5
    assert infonce == pytest.approx(math.log1p(math.exp(printed)) if printed < 50 else printed, abs=1e-3)


def test_the_loss_without_a_lower_bound_is_refused() -> None:
    with pytest.raises(UserError, match="include_positive: true"):
        Alignment("none", include_positive=False)
    Alignment("none", include_positive=True)


def test_the_mean_is_over_eligible_clips() -> None:
    torch.manual_seed(0)
    states, mask = torch.randn(4, 5, 8, requires_grad=True), torch.ones(4, 5, dtype=torch.bool)
    eligible = torch.tensor([True, False, True, False])
    positive, negatives = torch.randn(2, 8), torch.randn(2, 3, 8)
    aligned = Alignment()(states, mask, eligible, positive, negatives)
    loss = aligned.loss
    each, near, far = [], [], []
    for row, clip in enumerate((0, 2)):
        caption = pool(states[clip], mask[clip], "token")
        own, false = caption @ positive[row] / 0.07, negatives[row] @ caption / 0.07
        each.append(false.exp().sum().log() - own)
        near.append(0.07 * own)
        far.append(0.07 * false.mean())
    assert torch.allclose(loss, torch.stack(each).mean(), atol=1e-4)
    assert torch.allclose(aligned.positive, torch.stack(near).mean(), atol=1e-4)
    assert torch.allclose(aligned.negative, torch.stack(far).mean(), atol=1e-4)
    assert torch.allclose(aligned.distance, (positive[:, None] - negatives).square().sum(-1).sqrt().mean(), atol=1e-4)
    assert not any(figure.requires_grad for figure in aligned[1:])
    loss.backward()
    assert states.grad is not None
    assert states.grad[eligible].abs().sum() > 0
    assert states.grad[~eligible].abs().sum() == 0
    nothing = Alignment()(states, mask, torch.zeros(4, dtype=torch.bool), positive[:0], negatives[:0]).loss
    assert nothing.item() == 0
    (nothing + states.sum()).backward()  # can be added to another loss


@given(st.permutations(range(2, 12)), st.sampled_from(["token", "pooled", "none"]))
def test_order_is_invisible_without_context(order: list[int], normalize: Normalize) -> None:
    encoder = TextEncoder(Lookup(), PAD)
    texts = torch.tensor([list(range(2, 12)), order])
    first, second = encoder.pooled(texts, normalize)
    assert torch.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("normalize", ["token", "pooled", "none"])
def test_order_is_heard_with_context(contextual: TextEncoder, normalize: Normalize) -> None:
    text = torch.tensor([0, 4, 5, 6, 7, 8, 9, 2])
    shuffled = text[[0, 4, 5, 6, 1, 2, 3, 7]]
    first, second = contextual.pooled(torch.stack([text, shuffled]), normalize)
    assert (first - second).abs().max() > 1e-3
    caption = pool(torch.randn(5, 16), torch.ones(5, dtype=torch.bool), normalize)
    assert abs(caption @ first - caption @ second) > 1e-4


def test_texts_are_read_once_and_padding_is_nothing_to_them(contextual: TextEncoder) -> None:
    lookup = Lookup()
    encoder = TextEncoder(lookup, PAD)
    texts = torch.tensor([[[0, 5, 2, PAD], [0, 5, 6, 2]], [[0, 5, 6, 2], [0, 5, 2, PAD]]])
    pooled = encoder.pooled(texts, "token")
    assert pooled.shape == (2, 2, 16)
    assert lookup.calls == [2]
    assert torch.equal(pooled[0, 0], pooled[1, 1])
    assert torch.equal(pooled[0, 1], pooled[1, 0])
    together = contextual.pooled(texts, "token")
    alone = contextual.pooled(texts[0, :1, :3], "token")[0]
    assert torch.allclose(alone, together[0, 0], atol=1e-5)


def test_the_text_encoder_is_a_copy_that_nothing_changes() -> None:
    captioner = BartCaptioner(4, new_bart(vocabulary=20, dims=16, layers=1, heads=2, hidden=32, longest=32))
    encoder = captioner.text_encoder().train()
    tokens = torch.tensor([[0, 5, 6, 2]])
    before, mask = encoder(tokens)
    assert not before.requires_grad
    assert mask.all()
    assert not any(module.training for module in encoder.modules())
    assert not any(p.requires_grad for p in encoder.parameters())
    assert all(p.requires_grad for p in captioner.parameters())
    with torch.no_grad():
        for parameter in captioner.parameters():
            parameter.add_(1)
    assert torch.equal(encoder(tokens)[0], before)


def test_a_step_with_both_losses_trains_the_captioner_alone() -> None:
    torch.manual_seed(0)
    captioner = BartCaptioner(4, new_bart(vocabulary=20, dims=16, layers=2, heads=2, hidden=32, longest=32))
    encoder = captioner.text_encoder()
    captions = torch.tensor([[0, 5, 6, 7, 2], [0, 9, 2, PAD, PAD], [0, 4, 4, 2, PAD]])
    logits, states = captioner.train()(torch.randn(3, 7, 4), torch.ones(3, 7, dtype=torch.bool), captions)
    eligible = torch.tensor([True, False, True])
    positive = encoder.pooled(torch.tensor([[0, 5, 6, 2], [0, 7, 2, PAD]]), "token")
    negatives = encoder.pooled(torch.randint(3, 20, (2, 24, 6)), "token")
    alignment = Alignment()(states, captions != PAD, eligible, positive, negatives).loss
    (caption_loss(logits, captions, PAD) + alignment).backward()  # equation 4
    assert all(p.grad is not None and p.grad.isfinite().all() for p in captioner.parameters())
    assert all(p.grad is None for p in encoder.parameters())
