"""PANNs' networks: against outputs of the reference implementation, padding and masks, augmentation, weights."""

import csv
import json
import math
import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from workflow_scripts.errors import UserError
from workflow_scripts.models.panns import DISPENSABLE, FeatureMap, LogMel, Panns, SpecAugment

torch.set_num_threads(1)
MINI = {"channels": [4, 8, 6], "pools": [2, 2, 1]}


def wave(first_phase: float, count: int) -> Tensor:
    """sin(12.9898 i + phase) for i below count; sums of angles save eighty million sines."""
    low = torch.arange(65536, dtype=torch.float64) * 12.9898
    high = torch.arange(math.ceil(count / 65536), dtype=torch.float64)[:, None] * 65536 * 12.9898 + first_phase
    return (high.sin().float() * low.cos().float() + high.cos().float() * low.sin().float()).flatten()[:count]


def published(layout: Path) -> dict[str, Tensor]:
    """A state dict of the published key names and shapes, with the values on which the golden outputs rest."""
    state = {}
    with layout.open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            key = row["key"]
            shape = [] if row["shape"] == "scalar" else [int(size) for size in row["shape"].split("x")]
            phase = (zlib.crc32(key.encode()) % 10007) / 10007 * 2 * math.pi
            value = wave(phase, math.prod(shape)).reshape(shape)
            if row["dtype"] == "int64":
                value = torch.zeros(shape, dtype=torch.int64)
            elif key.endswith("running_var"):
                value = 1 + 0.5 * value**2
            elif len(shape) > 1:
                value *= math.sqrt(2 / math.prod(shape[1:]))
            else:
                value = 1 + 0.1 * value if key.endswith("weight") else 0.05 * value
            state[key] = value
    return state


def signal(*shape: int) -> Tensor:
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return (0.6 * torch.sin(i * 0.0137) + 0.4 * torch.sin(i * 0.2713 + 1)).reshape(shape).float()


def mini(**keywords: object) -> Panns:
    torch.manual_seed(0)
    return Panns(MINI, **keywords)


@pytest.mark.parametrize(("name", "parameters"), [("cnn14", 80_753_615), ("cnn10", 5_219_279)])
@torch.inference_mode()
def test_networks_reproduce_the_reference(name: str, parameters: int, shared: Path, tmp_path: Path) -> None:
    folder = shared / "checkpoints"
    golden = json.loads((folder / "golden.json").read_text())[f"panns_{name}"]
    state = published(folder / f"panns_{name}.tsv")
    torch.save({"model": state}, tmp_path / "panns.pth")
    network = Panns(name, checkpoint=tmp_path / "panns.pth").eval()
    left = {key: value for key, value in state.items() if key.startswith(DISPENSABLE)}
    classifiers = sum(value.numel() for key, value in left.items() if key.startswith("fc"))
    assert sum(p.numel() for p in network.parameters()) + classifiers == parameters  # PANNs, table XII
    assert set(network.state_dict()) == set(state) - set(left)

    waveform = 0.5 * signal(2, 96_000)
    log_mel = network.log_mel(waveform)
    features = network.feature_map(log_mel)
    frames = features.mean(3)
    embedding = F.relu(F.linear(frames.amax(2) + frames.mean(2), left["fc1.weight"], left["fc1.bias"]))
    clipwise = F.linear(embedding, left["fc_audioset.weight"], left["fc_audioset.bias"]).sigmoid()
    assert list(features.shape) == golden["last_conv_block"]["shape"]
    for key, values in {
        "logmel": log_mel,
        "last_conv_block": features,
        "embedding": embedding,
        "clipwise_output": clipwise,
    }.items():
        expected, found = golden[key], values.double().flatten()
        assert len(found) == expected["n"]
        assert found[:8].tolist() == pytest.approx(expected["first"], rel=1e-4, abs=1e-5), key
        assert found[-4:].tolist() == pytest.approx(expected["last"], rel=1e-4, abs=1e-5), key
        assert found.mean().item() == pytest.approx(expected["mean"], rel=1e-4), key
        assert found.std().item() == pytest.approx(expected["std"], rel=1e-4), key
    embeddings, mask = network(waveform)
    assert torch.equal(embeddings, frames.transpose(1, 2))
    assert mask.all()


@pytest.mark.parametrize(("name", "dims", "frames"), [("cnn14", 2048, 31), ("cnn10", 512, 62)])
def test_ten_seconds_have_the_known_number_of_frames(name: str, dims: int, frames: int) -> None:
    with torch.device("meta"):
        network = Panns(name, augment=False)
        embeddings = network.feature_map(torch.empty(1, 1001, 64)).mean(3)
    assert embeddings.shape == (1, dims, frames)


def test_the_front_end_hears_a_tone_in_its_band() -> None:
    tone = torch.sin(2 * math.pi * 1000 / 32_000 * torch.arange(32_000))
    log_mel = LogMel()(torch.stack([tone, torch.zeros_like(tone)]))
    assert log_mel.shape == (2, 101, 64)
    assert log_mel[1].unique().tolist() == [-100]
    assert log_mel[0, 50].argmax() == LogMel().filters[:, 1000 * 1024 // 32_000].argmax()


@given(st.lists(st.integers(1, 9000), min_size=2, max_size=3))
@settings(max_examples=20)
@torch.inference_mode()
def test_the_mask_holds_the_frames_that_a_clip_alone_has(samples: list[int]) -> None:
    network = mini().eval()
    waveform = torch.zeros(len(samples), max(samples))
    for row, length in zip(waveform, samples, strict=True):
        row[:length] = torch.randn(length) / 9
    embeddings, mask = network(waveform, torch.tensor(samples))
    assert embeddings.shape == (*mask.shape, 6)
    for row, length in enumerate(samples):
        valid = int(mask[row].sum())
        assert mask[row, :valid].all()
        assert valid == max(1, (length // 320 + 1) // 4)
    longest = max(range(len(samples)), key=samples.__getitem__)
    alone, _ = network(waveform[longest : longest + 1])
    assert torch.allclose(alone, embeddings[longest], atol=1e-5)


def test_stripes_are_drawn_for_each_clip_while_training_only() -> None:
    torch.manual_seed(1)
    augment, x = SpecAugment(frames=20, bands=8), torch.ones(64, 100, 64)
    assert augment.eval()(x) is x
    masked = augment.train()(x)
    frames, bands = (masked == 0).all(2).sum(1), (masked == 0).all(1).sum(1)
    assert 0 < frames.max() <= 40
    assert 0 < bands.max() <= 16
    assert len(set(frames.tolist())) > 5
    assert set(masked.unique().tolist()) == {0, 1}
    assert augment(torch.ones(2, 7, 4)).shape == (2, 7, 4)  # smaller than the stripes


def test_a_frozen_network_only_draws_stripes() -> None:
    torch.manual_seed(0)
    waveform = torch.randn(2, 64_000) / 5
    frozen = mini(frozen=True).train()
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    first, second = frozen(waveform)[0], frozen(waveform)[0]
    assert not torch.equal(first, second)
    assert not first.requires_grad
    assert all(torch.equal(before[key], value) for key, value in frozen.state_dict().items())
    plain = mini(frozen=True, augment=False).train()
    assert torch.equal(plain(waveform)[0], plain(waveform)[0])


def test_of_a_network_whose_weights_are_frozen_the_norms_and_the_dropout_go_on() -> None:
    torch.manual_seed(0)
    waveform = torch.randn(2, 64_000) / 5
    network = mini(frozen="weights", augment=False).train()
    before = {name: value.clone() for name, value in network.named_parameters()}
    first, second = network(waveform)[0], network(waveform)[0]
    assert not torch.equal(first, second)
    assert not first.requires_grad
    assert all(torch.equal(before[name], value) for name, value in network.named_parameters())
    assert network.bn0.running_mean.abs().sum() > 0


def test_a_step_trains_every_weight() -> None:
    network = mini().train()
    network(torch.randn(2, 64_000) / 5)[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert network.bn0.running_mean.abs().sum() > 0


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    state = mini().state_dict()
    torch.save({"model": {**state, "fc1.weight": torch.zeros(2)}}, tmp_path / "good.pth")
    loaded = Panns(MINI, checkpoint=tmp_path / "good.pth")
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in state.items())
    torch.save(state | {"conv_block9.conv1.weight": torch.zeros(1)}, tmp_path / "more.pth")
    with pytest.raises(UserError, match=r"more.pth.*conv_block9"):
        Panns(MINI, checkpoint=tmp_path / "more.pth")
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"bad.pth.*fetch it again"):
        Panns(MINI, checkpoint=tmp_path / "bad.pth")


def test_unknown_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'cnn14'"):
        Panns("cnn41")
    for pools in ([2, 2], [2, 8, 8]):
        with pytest.raises(UserError, match="do not fit"):
            Panns({"channels": [4, 4, 4], "pools": pools})


def test_features_computed_beforehand_take_an_encoders_place() -> None:
    encoder, features = FeatureMap(5), torch.randn(2, 7, 5)
    same, mask = encoder(features, torch.tensor([7, 3]))
    assert same is features
    assert mask.sum(1).tolist() == [7, 3]
    assert encoder(features)[1].all()
    with pytest.raises(UserError, match="5 dimensions instead of 6"):
        FeatureMap(6)(features)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_step_of_the_full_size_on_a_gpu(dtype: torch.dtype) -> None:
    network = Panns("cnn14").cuda().train()
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        embeddings, _ = network(torch.randn(2, 320_000, device="cuda") / 5)
        embeddings.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
