"""The residual network of sounds: it is torchvision's, and its pooling NetVLAD."""

import pytest
import torch
import torchvision
from audio_networks import shuffled
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from workflow_scripts.models.audio_resnet import AudioResNet, NetVlad


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_resnet_is_torchvisions(depth: int) -> None:
    torch.manual_seed(0)
    reference = torchvision.models.get_model(f"resnet{depth}", num_classes=6, weights=None)
    reference.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    shuffled(reference)
    model = AudioResNet({"class": 6}, depth).eval()
    renamed = {}
    for key, value in reference.state_dict().items():
        name, _, rest = key.partition(".")
        layer = f"stages.{int(name[5:]) - 1}" if name.startswith("layer") else {"fc": "heads.class"}.get(name, name)
        renamed[f"{layer}.{rest}"] = value
    model.load_state_dict(renamed)
    x = torch.randn(1, 100, 70)
    with torch.no_grad():
        expected = reference(x.transpose(1, 2)[:, None])
        torch.testing.assert_close(model(x)["class"], expected, rtol=1e-4, atol=1e-4)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))
def test_netvlad_sums_residuals(clusters: int, features: int, places: int) -> None:
    torch.manual_seed(clusters + 10 * features + 100 * places)
    pool = NetVlad(features, clusters, alpha=2.0).double()
    x = torch.randn(1, features, places, 1, dtype=torch.float64)
    local = F.normalize(x[0, :, :, 0], dim=0).T
    total = torch.zeros(clusters, features, dtype=torch.float64)
    for vector in local:
        # softmax over clusters of -alpha |x - c|^2 is what the layer begins with, but for its term of |c|
        shares = (2 * 2.0 * pool.centroids @ vector - 2.0 * pool.centroids.norm(dim=1)).softmax(0)
        total += shares[:, None] * (vector - pool.centroids)
    total = total / total.norm(dim=1, keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(pool(x)[0], (total / total.norm().clamp(min=1e-12)).flatten())
