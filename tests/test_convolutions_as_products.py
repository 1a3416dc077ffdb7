"""Convolutions that are worked out as matrix products: their values and gradients are those of the convolution."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from workflow_scripts.models.ast import OverlappingPatches
from workflow_scripts.models.audio_parts import Pointwise
from workflow_scripts.models.dat import Patches


def assert_equal(own: torch.Tensor, plain: torch.Tensor, learned: list[torch.Tensor]) -> None:
    """Asserts equal values, and equal gradients of what is learned."""
    torch.testing.assert_close(own, plain)
    weights = torch.randn_like(own)
    gradients = (torch.autograd.grad((values * weights).sum(), learned) for values in (own, plain))
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


def convolved(layer: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, layer.weight, layer.bias, layer.stride)


@pytest.mark.parametrize(("stride", "bias"), [((1, 1), True), ((1, 2), False)])
def test_a_pointwise_convolution(stride: tuple[int, int], bias: bool) -> None:
    layer = Pointwise(6, 4, stride, bias).double()
    x = torch.randn(3, 6, 5, 8, dtype=torch.double, requires_grad=True)
    assert_equal(layer(x), convolved(layer, x), [x, *layer.parameters()])


def test_the_patches_of_ast() -> None:
    layer = OverlappingPatches(5, img_size=(20, 28), patch_size=8, in_chans=1, embed_dim=6).double()
    x = torch.randn(3, 1, 20, 28, dtype=torch.double, requires_grad=True)
    plain = convolved(layer.proj, x).flatten(2).transpose(1, 2)
    assert_equal(layer(x), plain, [x, *layer.proj.parameters()])


@pytest.mark.parametrize("bias", [True, False])
def test_the_patches_of_datar(bias: bool) -> None:
    layer = Patches(3, 6, 2, bias).double()
    x = torch.randn(3, 8, 12, 3, dtype=torch.double, requires_grad=True)
    plain = layer.norm(convolved(layer.conv, x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
    assert_equal(layer(x), plain, [x, *layer.parameters()])
