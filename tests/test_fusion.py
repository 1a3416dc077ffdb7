"""Classifiers of digits: sizes stated by the paper and its author's code, the fusions, and InceptionTime."""

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from workflow_scripts.errors import UserError
from workflow_scripts.models.digits import Conv1Net, Conv2Net, SameConv1d
from workflow_scripts.models.fusion import FUSIONS, Attention, FactorizedBilinear, Gated
from workflow_scripts.models.inception_time import InceptionTime
from workflow_scripts.training.systems.classifier.settings import FusionName, System

CLASSES = list("0123456789")
WIDTHS = {  # fused features and parameters of each fusion of 128 + 128 features
    "concatenation": (256, 0),
    "addition": (128, 0),
    "multiplication": (128, 0),
    "maximum": (128, 0),
    "attention": (128, 66_304),
    "gated": (256, 98_816),
    "bilinear": (128, 2_097_280),
    "factorized_bilinear": (128, 24_832),
}


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def build(kind: str, fusion: str | None = None, **sizes: object) -> nn.Module:
    return System.check({"classes": CLASSES, "kind": kind, "fusion": fusion, "sizes": sizes}, "test").build({})


def streams(batch: int = 3) -> dict[str, torch.Tensor]:
    return {"image": torch.randn(batch, 28, 28), "audio": torch.randn(batch, 1, 8000)}


# Networks


def test_sizes_of_the_single_networks() -> None:
    image, audio = Conv2Net(), Conv1Net()
    assert (count(image), count(audio)) == (225_034, 4_151_914)
    assert (image.hidden.in_features, audio.hidden.in_features) == (1600, 32_000)
    given = streams()
    for network, x in ((image, given["image"]), (audio, given["audio"])):
        assert network.inner(x).shape == (3, 128) and network(x).shape == (3, 10)


@pytest.mark.parametrize("name", WIDTHS)
def test_sizes_of_the_multimodal_networks(name: str) -> None:
    width, parameters = WIDTHS[name]
    fusion = FUSIONS[name](128)
    assert (fusion.width, count(fusion)) == (width, parameters)
    assert fusion(torch.randn(3, 128), torch.randn(3, 128)).shape == (3, width)
    model = build("multimodal", name)
    head = (width + 1) * 64 + 65 * 10
    assert count(model) == 225_034 + 4_151_914 + parameters + head
    assert model(streams()).shape == (3, 10)


def test_every_fusion_can_be_set() -> None:
    assert set(get_args(FusionName)) == set(FUSIONS) == set(WIDTHS)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_smaller_sizes(fusion: str) -> None:
    model = build("multimodal", fusion, image_channels=(4, 8), audio_channels=(2, 4), inner=16, head=8, dropout=0.1)
    assert model(streams()).shape == (3, 10) and count(model) < 60_000


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 5))
def test_same_padding(length: int, kernel: int, stride: int) -> None:
    """As many values as strides begun, each over the window that starts half the padding to the left."""
    layer = SameConv1d(1, 1, kernel, stride)
    x = torch.randn(1, 1, length)
    outputs = math.ceil(length / stride)
    left = max((outputs - 1) * stride + kernel - length, 0) // 2
    padded = torch.zeros(length + 2 * kernel + stride)
    padded[left : left + length] = x[0, 0]
    windows = torch.stack([padded[n * stride : n * stride + kernel] for n in range(outputs)])
    assert torch.allclose(layer(x)[0, 0], windows @ layer.weight[0, 0] + layer.bias, atol=1e-5)


@pytest.mark.parametrize(("place", "pads"), [(0, (48, 48)), (2, (10, 11))])
def test_padding_of_the_paper(place: int, pads: tuple[int, int]) -> None:
    layer = Conv1Net().convolutions[place]
    length = 8000 if place == 0 else 2000
    x = torch.randn(1, layer.in_channels, length)
    expected = functional.conv1d(functional.pad(x, pads), layer.weight, layer.bias, stride=4)
    assert layer(x).shape[2] == length // 4 and torch.allclose(layer(x), expected, atol=1e-6)


def test_inner_features_come_after_relu_and_dropout() -> None:
    network = Conv2Net()
    x = torch.randn(64, 28, 28)
    trained, evaluated = network.inner(x), network.eval().inner(x)
    assert trained.min() >= 0 and evaluated.min() >= 0
    assert (trained == 0).float().mean() > (evaluated == 0).float().mean() + 0.15


def test_the_own_output_layers_stay_unused() -> None:
    model = build("multimodal", "addition")
    model(streams()).sum().backward()
    assert all(network.output.weight.grad is None for network in (model.image, model.audio))
    assert all(network.hidden.weight.grad is not None for network in (model.image, model.audio))


# Fusions


def test_attention_over_one_token_is_a_linear_layer() -> None:
    torch.manual_seed(0)
    fusion = Attention(128).double()
    nn.init.normal_(fusion.attention.in_proj_bias)  # zeros would hide the constant
    nn.init.normal_(fusion.attention.out_proj.bias)
    image, audio = torch.randn(2, 5, 128).double().unbind()
    value, bias = fusion.attention.in_proj_weight[256:], fusion.attention.in_proj_bias[256:]
    out = fusion.attention.out_proj
    constant = 2 * (out.weight @ bias + out.bias)
    expected = fusion.norm((image + audio) @ (out.weight @ value).T + constant)
    fused = fusion(image, audio)
    assert torch.allclose(fused, expected, atol=1e-12)
    (fused * torch.randn_like(fused)).sum().backward()
    assert fusion.attention.in_proj_weight.grad[256:].abs().max() > 0.1
    for gradient in (fusion.attention.in_proj_weight.grad, fusion.attention.in_proj_bias.grad):
        assert gradient[:256].abs().max() < 1e-12  # queries and keys


def test_multiplication_after_dropout_keeps_a_quarter() -> None:
    torch.manual_seed(0)
    model = build("multimodal", "multiplication").train()
    features = torch.ones(400, 128)
    products = model.fusion(model.image.dropout(features), model.audio.dropout(features))
    assert (products != 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert products.unique().tolist() == [0, 4]  # each factor is doubled by its dropout


def test_element_wise_fusions() -> None:
    image, audio = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, -1.0]])
    results = {name: FUSIONS[name](2)(image, audio).tolist() for name in list(WIDTHS)[:4]}
    assert results == {
        "concatenation": [[1, 2, 3, -1]],
        "addition": [[4, 1]],
        "multiplication": [[3, -2]],
        "maximum": [[3, 2]],
    }


def test_gates_by_hand() -> None:
    fusion = Gated(1)
    with torch.no_grad():
        for gate, weights in ((fusion.image_gate, 1.0), (fusion.audio_gate, 2.0), (fusion.gate, 1.0)):
            gate.weight.fill_(weights)
            gate.bias.zero_()

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    first, second = sigmoid(3) * 3, sigmoid(-2) * -1
    both = sigmoid(first + second)
    fused = fusion(torch.tensor([[3.0]]), torch.tensor([[-1.0]]))
    assert fused[0].tolist() == pytest.approx([both * first, both * second], rel=1e-5)


def test_a_bilinear_form_of_low_rank() -> None:
    """Without the projections' biases the factorised fusion is a bilinear one of a weight of rank inner / 2."""
    torch.manual_seed(0)
    fusion = FactorizedBilinear(8)
    with torch.no_grad():
        fusion.of_image.bias.zero_()
        fusion.of_audio.bias.zero_()
    image, audio = torch.randn(2, 5, 8).unbind()
    weight = torch.einsum("or,ri,ra->oia", fusion.back.weight, fusion.of_image.weight, fusion.of_audio.weight)
    assert torch.allclose(fusion(image, audio), functional.bilinear(image, audio, weight, fusion.back.bias), atol=1e-5)
    assert torch.linalg.matrix_rank(weight[0], tol=1e-5) == 4


# InceptionTime


def test_inception_time() -> None:
    assert count(InceptionTime()) == 406_026  # of 6 modules and 2 shortcuts, 128 channels
    model = InceptionTime(10, depth=3, filters=2, kernels=(9, 5, 3), downsample=4)
    assert model(torch.randn(3, 1, 800)).shape == (3, 10)
    assert model.inceptions[0].convolutions[0].in_channels == 1 and model.inceptions[1].convolutions[0].in_channels == 2
    with torch.no_grad():
        for name, parameter in model.inceptions.named_parameters():
            parameter.fill_(0 if name.endswith("norm.weight") or name.endswith("norm.bias") else 1)
    x = torch.randn(3, 1, 800)
    only_shortcut = model.shortcuts[0](functional.avg_pool1d(x, 4)).relu().mean(2)
    assert torch.allclose(model(x), model.output(only_shortcut), atol=1e-5)


# Settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "multimodal"}, "the kind 'multimodal' needs a fusion"),
        ({"kind": "image", "fusion": "addition"}, "the kind 'image' takes no fusion"),
        ({"kind": "multimodal", "fusion": "gatde"}, "'fusion': input should be 'concatenation', .*found 'gatde'"),
        ({"kind": "multimodal", "fusion": "attention", "sizes": {"inner": 20}}, "8 heads, which cannot share 20"),
        ({"kind": "audio", "sizes": {"iner": 20}}, "unknown key 'sizes.iner'; did you mean 'inner'"),
    ],
)
def test_refusals(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        System.check({"classes": CLASSES} | values, "settings")


def test_streams_of_the_kinds() -> None:
    kinds = {"image": ["image"], "audio": ["audio"], "audio_inception_time": ["audio"]}
    assert {kind: System(classes=CLASSES, kind=kind).streams for kind in kinds} == kinds
    assert System(classes=CLASSES, kind="multimodal", fusion="gated").streams == ["image", "audio"]
