"""Auditory Slow-Fast: its size, its two pathways, and how it goes on from published weights."""

from pathlib import Path

import torch
from audio_networks import HEADS, on_meta, parameters, shuffled
from torch import nn

from workflow_scripts.models.audio_slowfast import AudioSlowFast


def test_slowfast_has_the_published_size() -> None:
    model = on_meta({"kind": "slowfast"}, (400, 128), {"verb": 97, "noun": 300})
    assert round(parameters(model) / 1e6, 2) == 26.88
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert shapes["s1.pathway0_stem.conv.weight"] == (64, 1, 1, 7)
    assert shapes["s1.pathway1_stem.conv.weight"] == (8, 1, 5, 7)
    assert shapes["s1_fuse.conv_f2s.weight"] == (16, 8, 7, 1)
    assert shapes["s2.pathway0_res0.branch1.weight"] == (256, 80, 1, 1)
    assert shapes["s3.pathway0_res0.branch2.a.weight"] == (128, 320, 1, 1)
    assert shapes["s4.pathway0_res5.branch2.a.weight"] == (256, 1024, 3, 1)
    assert shapes["s5.pathway1_res2.branch2.b.weight"] == (64, 64, 1, 3)


def test_slowfast_keeps_the_frames_of_each_pathway() -> None:
    model = on_meta({"kind": "slowfast"}, (512, 128), HEADS)
    seen = []
    for name in ("s1", "s2", "s5"):
        model.get_submodule(name).register_forward_hook(lambda *call: seen.append([tuple(y.shape) for y in call[2]]))
    model.features(torch.empty(2, 512, 128, device="meta"))
    assert seen == [
        [(2, 64, 32, 32), (2, 8, 128, 32)],
        [(2, 256, 32, 32), (2, 32, 128, 32)],
        [(2, 2048, 32, 4), (2, 256, 128, 4)],
    ]


def small_slowfast(**keywords: object) -> AudioSlowFast:
    torch.manual_seed(0)
    return AudioSlowFast({"class": 6}, view_frames=48, depths=[1, 1, 1, 1], width=8, beta=4, **keywords)


def test_slowfast_averages_the_probabilities_of_its_views() -> None:
    model = shuffled(small_slowfast(test_views=3))
    x = torch.randn(2, 100, 32)
    with torch.no_grad():
        single = [model.head(model.features(x[:, start : start + 48]))["class"].softmax(1) for start in (0, 26, 52)]
        torch.testing.assert_close(model(x)["class"].softmax(1), torch.stack(single).mean(0))


def test_slowfast_hears_the_fast_pathway_in_the_slow_one() -> None:
    model = shuffled(small_slowfast())
    x = torch.randn(1, 48, 32)
    with torch.no_grad():
        before = model.features(x)[:, :256]
        nn.init.zeros_(model.s4_fuse.conv_f2s.weight)
        assert not torch.allclose(model.features(x)[:, :256], before)


def test_slowfast_goes_on_from_a_file_with_its_norms_frozen(tmp_path: Path) -> None:
    source = shuffled(small_slowfast())
    state = {key: value for key, value in source.state_dict().items() if not key.startswith("head.")}
    torch.save({"model_state": state | {"head.projection.weight": torch.ones(9, 320)}}, tmp_path / "vgg.pyth")
    model = small_slowfast(freeze_norms=True, checkpoint=tmp_path / "vgg.pyth")
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name in trained if "bn" in name} == {
        f"{norm}.{kind}"
        for norm in ("s1.pathway0_stem.bn", "s1.pathway1_stem.bn", "s1_fuse.bn")
        for kind in ("weight", "bias")
    }
    model.train()(torch.randn(2, 48, 32))
    after = model.state_dict()
    changed = {key.rsplit(".", 1)[0] for key in state if "running" in key and not torch.equal(state[key], after[key])}
    assert changed == {"s1.pathway0_stem.bn", "s1.pathway1_stem.bn", "s1_fuse.bn"}
    assert torch.equal(after["s5.pathway0_res0.branch2.c.weight"], state["s5.pathway0_res0.branch2.c.weight"])
