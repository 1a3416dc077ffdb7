"""The GRU beside PyTorch's own, and its gradients beside finite differences."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from workflow_scripts.models.gru import BidirectionalGRU, Recurrence

SIZES = st.integers(1, 7)


@settings(max_examples=30, deadline=None)
@given(SIZES, SIZES, SIZES, SIZES, st.integers(1, 3), st.booleans())
def test_it_is_pytorchs(batch: int, frames: int, inputs: int, hidden: int, layers: int, transposed: bool) -> None:
    ours = BidirectionalGRU(inputs, hidden, layers)
    plain = nn.GRU(inputs, hidden, layers, batch_first=True, bidirectional=True)
    plain.load_state_dict(ours.state_dict())
    shape = (frames, batch, inputs) if transposed else (batch, frames, inputs)
    sequence = torch.randn(shape)
    sequence = (sequence.transpose(0, 1) if transposed else sequence).requires_grad_()
    weight = torch.randn(batch, frames, 2 * hidden)
    found = []
    for network in (ours, plain):
        outputs, last = network(sequence)
        loss = (outputs * weight).sum() + last.square().sum()
        found.append([outputs, last, *torch.autograd.grad(loss, [sequence, *network.parameters()])])
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_differences() -> None:
    gates, weights, biases = torch.randn(4, 2, 3, 6), torch.randn(2, 6, 2), torch.randn(2, 6)
    parts = [part.double().requires_grad_() for part in (gates, weights, biases)]
    assert torch.autograd.gradcheck(Recurrence.apply, parts)


def test_what_is_not_for_it_goes_to_pytorch() -> None:
    network, sequence = BidirectionalGRU(3, 4, 1), torch.randn(2, 5, 3)
    plain = nn.GRU(3, 4, batch_first=True, bidirectional=True)
    plain.load_state_dict(network.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        assert network(sequence)[0].equal(plain(sequence)[0])
    with torch.no_grad():
        assert not network(sequence)[0].requires_grad
    assert network.to("meta")(sequence.to("meta"))[0].shape == (2, 5, 8)
