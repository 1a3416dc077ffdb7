"""The audio stream of the temporal binding network: its size, its segments, published weights."""

from pathlib import Path

import pytest
import torch
from audio_networks import HEADS, parameters, shuffled
from torch import nn

from workflow_scripts.errors import UserError
from workflow_scripts.models.audio_tbn import MODULES, AudioTbn, BnInception


def test_bn_inception_has_the_published_size() -> None:
    trunk = BnInception()
    colours, classifier = 2 * 64 * 7 * 7, 1000 * 1025
    assert parameters(trunk) + colours + classifier == 11_295_240
    with torch.device("meta"):
        widths = [BnInception(modules=list(MODULES)[:count]).outputs for count in range(1, len(MODULES) + 1)]
    assert widths == [256, 320, 576, 576, 576, 608, 608, 1056, 1024, 1024]


def test_tbn_averages_the_logits_of_its_segments() -> None:
    torch.manual_seed(0)
    model = shuffled(AudioTbn((96, 32), HEADS, segment_frames=32, test_segments=3, width=0.0625))
    x = torch.randn(2, 96, 32)
    with torch.no_grad():
        pieces = [model.trunk(x[:, start : start + 32].transpose(1, 2)[:, None]) for start in (0, 32, 64)]
        for name, logits in model(x).items():
            expected = torch.stack([model.heads(piece)[name] for piece in pieces]).mean(0)
            torch.testing.assert_close(logits, expected)


def test_tbn_takes_the_mean_of_the_colours(tmp_path: Path) -> None:
    source = shuffled(BnInception(0.125))
    kernel = torch.randn(8, 3, 7, 7)
    colours = source.state_dict() | {"conv1_7x7_s2.weight": kernel, "last_linear.weight": torch.ones(1000, 128)}
    torch.save(colours, tmp_path / "bn_inception.pth")
    model = AudioTbn((64, 32), HEADS, segment_frames=32, width=0.125, checkpoint=tmp_path / "bn_inception.pth").eval()
    grey = torch.randn(1, 1, 32, 32)
    source.get_submodule("conv1_7x7_s2").weight = nn.Parameter(kernel)
    with torch.no_grad():
        torch.testing.assert_close(model.trunk(grey), source(grey.expand(1, 3, 32, 32) / 3), rtol=1e-4, atol=1e-4)


def test_tbn_refuses_what_does_not_fit() -> None:
    with pytest.raises(UserError, match="both must be multiples of 32"):
        AudioTbn((300, 80), HEADS)
    with pytest.raises(UserError, match="no module '3d'"):
        AudioTbn((300, 64), HEADS, modules=["3d"])
