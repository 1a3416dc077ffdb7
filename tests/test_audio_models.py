"""Classifiers of spectrograms: their shapes, sizes, published weights, and agreement with other implementations."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from timm.models.deit import VisionTransformerDistilled
from torch import nn
from torch.nn import functional as F

from workflow_scripts.errors import UserError
from workflow_scripts.models.ast import Ast, fit, from_deit
from workflow_scripts.models.audio_classifiers import build
from workflow_scripts.models.audio_parts import views
from workflow_scripts.models.audio_resnet import AudioResNet, NetVlad
from workflow_scripts.models.audio_slowfast import AudioSlowFast
from workflow_scripts.models.audio_tbn import MODULES, AudioTbn, BnInception
from workflow_scripts.models.pretrained import put, read_weights
from workflow_scripts.training.systems.audio_classifier.networks import Tbn

HEADS = {"verb": 5, "noun": 7}
TINY = [
    {
        "kind": "datar",
        "size": {"dims": [16, 32], "depths": [2, 2], "heads": [2, 4], "groups": [2]},
        "offset_kernel": [3],
    },
    {"kind": "ast", "dims": 24, "depth": 2, "attention_heads": 3},
    {"kind": "resnet", "depth": 10, "width": 4},
    {"kind": "resnet", "depth": 10, "width": 4, "pooling": "netvlad", "clusters": 3},
    {"kind": "slowfast", "view_frames": 48, "depths": [1, 1, 1, 1], "width": 8, "beta": 4},
    {"kind": "tbn", "segment_frames": 32, "test_segments": 4, "width": 0.0625, "modules": ["3a", "3c", "4e", "5b"]},
]


def identify(settings: dict) -> str:
    return "-".join(str(settings[key]) for key in ("kind", "pooling") if key in settings)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def on_meta(settings: dict, shape: tuple[int, int], heads: dict[str, int]) -> nn.Module:
    with torch.device("meta"):
        return build(settings, shape, heads)


def shuffled(model: nn.Module) -> nn.Module:
    """The model in eval mode, with random statistics and scales in its batch norms."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    return model.eval()


# all of them


@pytest.mark.parametrize("settings", TINY, ids=identify)
def test_every_parameter_learns(settings: dict) -> None:
    torch.manual_seed(0)
    model = build(settings, (64, 32), HEADS)
    x = torch.randn(4, 64, 32)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(6):
        optimiser.zero_grad()
        logits = model(x)
        assert {name: tuple(values.shape) for name, values in logits.items()} == {"verb": (4, 5), "noun": (4, 7)}
        loss = sum(F.cross_entropy(values, torch.arange(4)) for values in logits.values())
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("settings", TINY, ids=identify)
def test_half_precision_agrees(settings: dict) -> None:
    torch.manual_seed(0)
    model = build(settings, (64, 32), HEADS).eval()
    x = torch.randn(2, 64, 32)
    # oneDNN's AMX kernels let uninitialised memory into sums over few channels (its issue 5717): not of our making
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        exact = model(x)
        with torch.autocast("cpu", torch.bfloat16):
            near = model(x)
    for name in HEADS:
        assert near[name].isfinite().all()
        torch.testing.assert_close(near[name].float(), exact[name], rtol=0.1, atol=0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", ["ast", "resnet", "slowfast", "tbn"])
def test_a_full_size_step_on_a_gpu(kind: str, dtype: torch.dtype) -> None:
    shape = (1024, 128)
    model = build({"kind": kind}, shape, HEADS).cuda()
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        logits = model(torch.randn(2, *shape, device="cuda"))
    sum(values.float().logsumexp(1).sum() for values in logits.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("kind", ["resnet", "slowfast", "tbn"])
def test_a_full_size_step(kind: str) -> None:
    model = build({"kind": kind}, (256, 128), HEADS)
    logits = model(torch.randn(2, 256, 128))
    sum(values.logsumexp(1).sum() for values in logits.values()).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_settings_objects_are_built_as_their_values_are() -> None:
    settings = Tbn(kind="tbn", segment_frames=32, width=0.0625, modules=["3a"])
    assert parameters(build(settings, (64, 32), HEADS)) == parameters(build(settings.model_dump(), (64, 32), HEADS))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="no audio classifier 'lstm'"):
        build({"kind": "lstm"}, (64, 32), HEADS)


# pieces of a clip


def clip_of(length: int, time: int) -> torch.Tensor:
    """One clip whose frames are 1 … length, then 0."""
    frames = torch.arange(1, time + 1).where(torch.arange(time) < length, 0)
    return frames.float()[None, :, None].expand(1, time, 2)


@given(st.integers(1, 40), st.integers(0, 10), st.integers(1, 12), st.integers(1, 5), st.booleans())
def test_pieces_are_runs_of_a_clip(length: int, padding: int, frames: int, count: int, random: bool) -> None:
    pieces = views(clip_of(length, length + padding), frames, count, random)[0, :, :, 0]
    assert pieces.shape == (count, frames)
    last = length + 1 if padding else length
    values = pieces.where(pieces > 0, length + 1)  # the one frame of padding that may be read
    steps = values.diff(dim=1)
    assert ((steps == 1) | ((steps == 0) & (values[:, 1:] == last))).all()
    if last > frames:
        assert (steps == 1).all()
    if not random:
        assert values[0, 0] == 1
        if count > 1:
            assert values[-1, -1] == last


def test_each_piece_in_training_comes_from_its_part() -> None:
    torch.manual_seed(0)
    starts = views(clip_of(100, 100).expand(500, -1, -1), 10, 3, random=True)[:, :, 0, 0] - 1
    for part, begins in enumerate(starts.T):
        assert begins.min() == 30 * part
        assert begins.max() == 30 * part + 29


def test_a_silent_clip_is_one_frame() -> None:
    assert views(torch.full((2, 20, 3), -4.0), 8, 2, random=False).unique().tolist() == [-4.0]


# published weights


def test_files_of_weights_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": {"weight": torch.ones(2)}, "epoch": 3}, path)
    assert read_weights(path)["weight"].tolist() == [1, 1]
    path.write_bytes(b"not weights")
    with pytest.raises(UserError, match="not a file of PyTorch weights"):
        read_weights(path)
    torch.save({"model": {"weight": "text"}}, path)
    with pytest.raises(UserError, match="no state dict"):
        read_weights(path)
    torch.save(np.zeros(3), path)  # an object, which is never unpickled
    with pytest.raises(UserError, match="not a file of PyTorch weights"):
        read_weights(path)
    with pytest.raises(UserError, match="'bias' differs"):
        put(nn.Linear(2, 1), {"weight": torch.ones(1, 2)}, path)


# AST


def deit(side: int, **keywords: int) -> VisionTransformerDistilled:
    return VisionTransformerDistilled(img_size=16 * side, patch_size=16, num_classes=1000, **keywords)


def test_ast_with_deit_weights_is_deit(tmp_path: Path) -> None:
    """On a square of patches that do not overlap, which equals an image whose colours are all the spectrogram."""
    torch.manual_seed(0)
    reference = deit(3, embed_dim=24, depth=2, num_heads=3).eval()
    torch.save({"model": reference.state_dict()}, tmp_path / "deit.pth")
    keywords = {"dims": 24, "depth": 2, "attention_heads": 3, "stride": 16}
    model = Ast((48, 48), {"class": 4}, **keywords, checkpoint=tmp_path / "deit.pth").eval()
    x = torch.randn(2, 48, 48)
    with torch.no_grad():
        tokens = reference.forward_features(x.transpose(1, 2)[:, None].expand(-1, 3, -1, -1))[:, :2]
        expected = model.heads(model.norm((tokens[:, 0] + tokens[:, 1]) / 2))["class"]
        torch.testing.assert_close(model(x)["class"], expected)


def test_ast_refuses_other_weights(tmp_path: Path) -> None:
    torch.save(deit(3, embed_dim=24, depth=1, num_heads=3).state_dict(), tmp_path / "deit.pth")
    with pytest.raises(UserError, match=r"deit\.pth: weights of another network .* differs"):
        Ast((48, 48), {"class": 4}, dims=24, depth=2, attention_heads=3, checkpoint=tmp_path / "deit.pth")


def test_published_deit_fits_full_size_ast(shared: Path) -> None:
    """All keys and shapes of the published file; the parameters of AST follow from them."""
    with (shared / "checkpoints" / "timm_deit_base_distilled_patch16_384.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    state = {row["key"]: torch.empty([int(n) for n in row["shape"].split("x")], device="meta") for row in rows}
    model = on_meta({"kind": "ast"}, (1024, 128), {"class": 527})
    assert model.grid == (12, 101)
    assert model.trunk.pos_embed.shape == (1, 1214, 768)
    put(model.trunk, from_deit(state, model.grid), Path("published"))
    weights = sum(value.numel() for key, value in state.items() if not key.startswith("head"))
    kernel, positions, head = 16 * 16 * 768, 768, 2 * 768 + 769 * 527
    assert parameters(model) == weights - 2 * kernel + (1212 - 24 * 24) * positions + head
    assert round(parameters(model) / 1e6) == 87


def test_ast_positions_are_cut_and_interpolated() -> None:
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    square = torch.stack([rows, columns], dim=2).flatten(0, 1)
    state = {"pos_embed": torch.cat([torch.full((2, 2), -1.0), square])[None]}
    found = from_deit(state, (12, 101))["pos_embed"][0]
    assert (found[:2] == -1).all()
    planes = found[2:].unflatten(0, (12, 101))
    torch.testing.assert_close(planes[:, :, 0], torch.arange(6.0, 18.0)[:, None].expand(12, 101))
    places = ((torch.arange(101) + 0.5) * 24 / 101 - 0.5).clamp(0, 23)
    torch.testing.assert_close(planes[:, :, 1], places.expand(12, 101))


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([2, 3]))
def test_fitting_keeps_the_middle(old: int, new: int, axis: int) -> None:
    plane = torch.arange(float(old)).reshape(1, 1, *((old, 1) if axis == 2 else (1, old)))
    found = fit(plane, axis, new).flatten()
    assert len(found) == new
    assert (found.diff() >= 0).all()
    assert abs(found.mean() - plane.mean()) <= 1


def test_ast_refuses_spectrograms_below_a_patch() -> None:
    with pytest.raises(UserError, match="8 frames x 128 bins are smaller"):
        Ast((8, 128), HEADS)


# ResNet


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


# Slow-Fast


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


# TBN


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


def test_initial_heads_hardly_prefer_a_class() -> None:
    for kind in ("slowfast", "tbn"):
        model = build({"kind": kind, "width": 16 if kind == "slowfast" else 0.25}, (256, 64), {"class": 10})
        model.eval()
        with torch.no_grad():
            chances = model(torch.randn(1, 256, 64))["class"].softmax(1)
        assert math.isclose(chances.max().item(), 0.1, abs_tol=0.02)
