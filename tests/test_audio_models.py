"""Classifiers of spectrograms: what all of them do, the pieces of clips that they read, files of weights."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from audio_networks import HEADS, parameters
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from workflow_scripts.errors import UserError
from workflow_scripts.models.audio_classifiers import build
from workflow_scripts.models.audio_parts import views
from workflow_scripts.models.pretrained import put, read_weights
from workflow_scripts.training.systems.audio_classifier.networks import Tbn

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


def test_initial_heads_hardly_prefer_a_class() -> None:
    for kind in ("slowfast", "tbn"):
        model = build({"kind": kind, "width": 16 if kind == "slowfast" else 0.25}, (256, 64), {"class": 10})
        model.eval()
        with torch.no_grad():
            chances = model(torch.randn(1, 256, 64))["class"].softmax(1)
        assert math.isclose(chances.max().item(), 0.1, abs_tol=0.02)
