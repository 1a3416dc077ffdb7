"""Multiply-accumulate operations, counted both ways."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from workflow_scripts.models.audio_classifiers import build
from workflow_scripts.models.macs import macs
from workflow_scripts.tables.analytic.macs import Source

SHAPE = (1024, 128)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_linear_layers(rows: int, inputs: int, outputs: int, bias: bool) -> None:
    found = macs(lambda: nn.Linear(inputs, outputs, bias), (rows, inputs))
    assert found == (rows * inputs * outputs,) * 2


@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 3), st.integers(4, 9))
def test_convolutions(inputs: int, groups: int, kernel: int, stride: int, side: int) -> None:
    outputs = 2 * groups
    found = macs(
        lambda: nn.Conv2d(inputs * groups, outputs, kernel, stride, groups=groups), (inputs * groups, side, side)
    )
    out = (side - kernel) // stride + 1
    assert found == (out * out * outputs * inputs * kernel * kernel,) * 2


class Attention(nn.Module):
    """One head whose queries are its keys and values."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x)


def test_products_of_attention_are_in_the_total_only() -> None:
    assert macs(Attention, (2, 10, 4)) == (0, 2 * 2 * 10 * 10 * 4)


def test_nothing_is_computed_or_kept() -> None:
    """A network that would need 4 TB."""
    assert macs(lambda: nn.Linear(1_000_000, 1_000_000), (1_000_000,)).layers == 10**12


def test_ast() -> None:
    found = macs(lambda: build({"kind": "ast"}, SHAPE, {"class": 527}), SHAPE)
    patches, tokens, dims = 12 * 101, 12 * 101 + 2, 768
    layers = patches * 16 * 16 * dims + 12 * 12 * tokens * dims * dims + 527 * dims
    assert found == (layers, layers + 12 * 2 * tokens * tokens * dims)
    assert [round(count / 1e9, 2) for count in found] == [103.35, 130.51]


@pytest.mark.parametrize(
    ("size", "layers", "total"), [("tiny", 11.4, 12.4), ("small", 22.3, 24.7), ("base", 39.6, 42.8)]
)
def test_datar(size: str, layers: float, total: float) -> None:
    found = macs(lambda: build({"kind": "datar", "size": size}, SHAPE, {"class": 309}), SHAPE)
    assert found.layers / 1e9 == pytest.approx(layers, abs=0.1)
    assert found.total / 1e9 == pytest.approx(total, abs=0.1)


def test_datar_from_its_equations() -> None:
    """DAT-B at 128 x 1024: projections and perceptrons of 24 blocks, stem, three halvings, offsets, classes."""
    found = macs(lambda: build({"kind": "datar"}, SHAPE, {"class": 309}), SHAPE)
    stages = [(8192 // 4**n, 128 * 2**n, depth) for n, depth in enumerate((2, 2, 18, 2))]
    blocks = sum(12 * places * dims**2 * depth for places, dims, depth in stages)
    halvings = sum(places * 4 * dims * dims // 2 for places, dims, _ in stages[1:])
    offsets = 9 * 512 * (25 * 512 + 2 * 512) + 1 * 128 * (9 * 1024 + 2 * 1024)
    assert found.layers == 8192 * 16 * 128 + blocks + halvings + offsets + 309 * 1024


def experiment(model: dict, features: dict) -> dict:
    return {
        "system": "audio_classifier",
        "settings": {"model": model, "optimisation": {"epochs": 1}},
        "features": {"fbank": {"extractor": "kaldi_fbank", "settings": features}},
        "clip_seconds": 10.0,
    }


def test_cells_read_the_experiment_s_settings() -> None:
    full = Source().cells(experiment({"kind": "ast", "checkpoint": "absent.pth"}, {}))
    assert full == {("AST", "MACs"): "103.35", ("AST", "MACs with attention"): "130.51"}
    small = {"kind": "datar", "size": {"dims": [16, 32], "depths": [2, 2], "heads": [2, 4], "groups": [2]}}
    found = Source().cells(experiment(small | {"offset_kernel": [3]}, {"bins": 64, "frames": 128}))
    assert list(found) == [("DATAR", "MACs"), ("DATAR", "MACs with attention")]
    layers, total = map(float, found.values())
    assert 0 < layers < total < 0.1


def test_counting_leaves_the_default_device_alone() -> None:
    macs(lambda: nn.Linear(2, 2), (2,))
    assert torch.empty(1).device.type == "cpu"
