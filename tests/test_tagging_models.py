"""Multi-label taggers: the sizes that the paper's tables imply, values worked out by hand, and steps that learn."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from workflow_scripts.models.dbof import DeepBagOfFrames, frame_places
from workflow_scripts.models.keyword_decoder import KeywordDecoder
from workflow_scripts.models.losses import mean_sigmoid_cross_entropy, sum_cross_entropy
from workflow_scripts.models.lstm_tagger import StackedLSTM
from workflow_scripts.models.mixture_of_experts import MixtureOfExperts, normalised
from workflow_scripts.models.textcnn import TextCNN

V = 4716  # classes in the paper's edition
DBOF_A = {"projection": 8192, "hidden": 1024, "experts": 2, "samples": 30}
DBOF_B = {"projection": 16384, "hidden": 2048, "experts": 16, "samples": 60}
SIZES: dict[str, tuple[Callable[[], nn.Module], float]] = {  # millions of trained parameters
    "MoE of video and audio": (lambda: MixtureOfExperts(1152, V, 2), 27.2),
    "MoE A": (lambda: MixtureOfExperts(1152, V, 8), 92.4),
    "MoE B": (lambda: MixtureOfExperts(1152, V, 32), 353.3),
    "MoE of all": (lambda: MixtureOfExperts(1024 + 128 + 1024 + 4096, V, 2), 147.9),
    "DBoF A": (lambda: DeepBagOfFrames(1152, V, **DBOF_A), 42.0),
    "DBoF B": (lambda: DeepBagOfFrames(1152, V, **DBOF_B), 371.3),
    "LSTM A": (lambda: StackedLSTM(1152, V, cells=1024, layers=2, experts=2), 41.5),
    "LSTM B": (lambda: StackedLSTM(1152, V, cells=512, layers=4, experts=4), 31.5),
    "TextCNN": (lambda: TextCNN(V), 41.7),
    "keyword decoder": (lambda: KeywordDecoder(1024, V), 12.8),
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def arguments(model: nn.Module, clips: int, device: str = "cpu") -> tuple[torch.Tensor, ...]:
    """Random inputs of the paper's shapes, of few frames."""
    if isinstance(model, MixtureOfExperts):
        return (normalised([torch.randn(clips, model.gates.in_features, device=device)], "blocks"),)
    if isinstance(model, DeepBagOfFrames | StackedLSTM):
        frames = normalised([torch.randn(clips, 6, 1152, device=device)], "concatenation")
        return (frames,) if isinstance(model, DeepBagOfFrames) else (frames, torch.arange(clips, device=device) % 6 + 1)
    if isinstance(model, TextCNN):
        return (torch.randn(clips, 40, 300, device=device),)
    return (torch.randint(0, 3, (clips, 1024), device=device).float(),)


def loss_of(model: nn.Module, given: tuple[torch.Tensor, ...], targets: torch.Tensor) -> torch.Tensor:
    loss = mean_sigmoid_cross_entropy if isinstance(model, TextCNN | KeywordDecoder) else sum_cross_entropy
    return loss(model(*given), targets)


def improvement(model: nn.Module, device: str = "cpu", dtype: torch.dtype | None = None) -> float:
    """By how much a step lowers the loss on the same clips; every trained parameter must get a gradient."""
    given = arguments(model, 4, device)
    targets = (torch.rand(4, model(*given).shape[1], device=device) < 0.01).float()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(2):
        torch.manual_seed(1)  # the same sampled frames and dropout
        with torch.autocast(device, dtype, enabled=dtype is not None):
            loss = loss_of(model, given, targets)
        optimiser.zero_grad()
        loss.backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        optimiser.step()
        losses.append(loss.item())
    return losses[0] - losses[1]


@pytest.mark.parametrize("name", SIZES)
def test_sizes_of_the_paper(name: str) -> None:
    build, millions = SIZES[name]
    with torch.device("meta"):
        model = build()
        assert round(count(model) / 1e6, 1) == millions
        probabilities = model.eval()(*arguments(model, 3, "meta"))
    assert probabilities.shape == (3, V)


@pytest.mark.parametrize("name", ["MoE of video and audio", "DBoF A", "LSTM A", "TextCNN", "keyword decoder"])
def test_a_full_size_step_lowers_the_loss(name: str) -> None:
    assert improvement(SIZES[name][0]()) > 0


SMALL: list[Callable[[], nn.Module]] = [
    lambda: MixtureOfExperts(1152, 50, 2),
    lambda: DeepBagOfFrames(1152, 50, projection=64, hidden=32, experts=2, samples=5),
    lambda: StackedLSTM(1152, 50, cells=16, layers=2, experts=2),
    lambda: TextCNN(50, filters=8, hidden=32),
    lambda: KeywordDecoder(1024, 50, hidden=(32, 64)),
]


@pytest.mark.parametrize("build", SMALL)
def test_half_precision(build: Callable[[], nn.Module]) -> None:
    model = build()
    assert improvement(model, dtype=torch.bfloat16) > 0
    given = arguments(model, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(*given).dtype == torch.float32


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("build", SMALL)
def test_a_step_on_cuda(build: Callable[[], nn.Module], dtype: torch.dtype | None) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    assert improvement(build().to("cuda"), "cuda", dtype) > 0


def fill(model: nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.fill_(value)


# Mixture of experts


def test_experts_by_hand() -> None:
    """Two classes with two experts each: the third gate's share is lost to the dummy."""
    model = MixtureOfExperts(1, 2, 2)
    gates = [math.log(2), math.log(3), 0.0, 0.0, 0.0, math.log(6)]  # class by class: two experts and the dummy
    with torch.no_grad():
        model.gates.weight.copy_(torch.tensor(gates)[:, None])
        model.experts.weight.copy_(torch.tensor([0.0, 0.0, math.log(3), 0.0])[:, None])
        model.experts.bias.copy_(torch.tensor([0.0, math.log(4), 0.0, 0.0]))
    expected = [2 / 6 * 1 / 2 + 3 / 6 * 4 / 5, 1 / 8 * 3 / 4 + 1 / 8 * 1 / 2]
    assert model(torch.ones(1, 1))[0].tolist() == pytest.approx(expected, rel=1e-6)


def test_without_features_the_gates_are_even() -> None:
    model = MixtureOfExperts(5, 3, 4)
    assert torch.allclose(model(torch.zeros(2, 5)), torch.full((2, 3), 0.5 * 4 / 5))


@pytest.mark.parametrize("build", SMALL)
def test_what_the_penalty_covers(build: Callable[[], nn.Module]) -> None:
    model = build()
    covered = {id(weight) for weight in model.regularised()}
    names = {name for name, parameter in model.named_parameters() if id(parameter) in covered}
    if isinstance(model, TextCNN):
        kernels = {"hidden.weight", "output.weight", *(f"convolutions.{n}.weight" for n in range(8))}
        assert names == kernels
    elif isinstance(model, KeywordDecoder):
        assert not names
    else:
        assert {name.removeprefix("classifier.") for name in names} == {"gates.weight", "experts.weight"}


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=6), st.floats(0.1, 1000))
def test_normalisation(values: list[float], factor: float) -> None:
    """Blocks: a block's scale does not matter. Concatenation: it does. The length is 1 unless everything is 0."""
    first, second = torch.tensor([values]), torch.tensor([[3.0, 4.0]])
    norm = np.linalg.norm(values)
    blocks = normalised([first, second], "blocks")
    assert torch.allclose(normalised([first * factor, second], "blocks"), blocks, atol=1e-4) or norm < 1e-6
    assert blocks.norm().item() == pytest.approx(1, abs=1e-4)
    plain = normalised([first, second], "concatenation")[0]
    assert plain[-2:].tolist() == pytest.approx([3 / math.hypot(5, norm), 4 / math.hypot(5, norm)], rel=1e-4)


def test_normalisation_by_hand_and_by_frame() -> None:
    blocks = [torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]), torch.tensor([[[2.0], [7.0]]])]
    half = math.sqrt(0.5)
    expected = [[0.6 * half, 0.8 * half, half], [0.0, 0.0, 1.0]]
    assert torch.allclose(normalised(blocks, "blocks")[0], torch.tensor(expected))


# Losses


def test_losses_by_hand() -> None:
    probabilities = torch.tensor([[0.8, 0.1], [0.5, 0.0]], dtype=torch.float64)
    targets = torch.tensor([[1.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    e = 1e-5
    first, second = -math.log(0.8 + e) - math.log(0.9 + e), -math.log(0.5 + e) - math.log(e)
    assert sum_cross_entropy(probabilities, targets).item() == pytest.approx((first + second) / 2)
    logits = torch.tensor([[math.log(4), -math.log(9)]])
    expected = (-math.log(0.8) - math.log(0.9)) / 2
    assert mean_sigmoid_cross_entropy(logits, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(expected, rel=1e-6)


def test_the_loss_stays_finite() -> None:
    certain = torch.tensor([[0.0, 1.0]], requires_grad=True)
    loss = sum_cross_entropy(certain, torch.tensor([[1.0, 0.0]]))
    loss.backward()
    assert loss.item() == pytest.approx(-2 * math.log(1e-5), rel=1e-3)
    assert certain.grad.isfinite().all()


# Deep bag of frames


@given(st.integers(1, 9), st.integers(0, 2**31))
def test_only_valid_frames_are_sampled(valid: int, seed: int) -> None:
    drawn = frame_places(torch.tensor([valid]), torch.rand(1, 50, generator=torch.Generator().manual_seed(seed)))
    assert drawn.shape == (1, 50) and drawn.min() >= 0 and drawn.max() < valid


def test_frames_are_sampled_evenly_and_with_replacement() -> None:
    drawn = frame_places(torch.tensor([3]), torch.rand(1, 30_000, generator=torch.Generator().manual_seed(0)))
    assert drawn.flatten().bincount().tolist() == pytest.approx([10_000] * 3, rel=0.03)


def test_given_chances_make_the_bag_repeatable() -> None:
    model = DeepBagOfFrames(1152, 20, projection=16, hidden=8, experts=2, samples=3).eval()
    frames, valid = torch.randn(300, 1152), torch.tensor([300, 200])
    chances = [torch.rand(2, 3, generator=torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    draws = [model.draw(valid, own) for own in chances]
    once, again, other = (model(frames[drawn]) for drawn in draws)
    assert torch.equal(once, again) and not torch.equal(once, other)


def test_the_bag_by_hand() -> None:
    """Each unit's maximum over the frames, between the norms with their clipped rectifiers."""
    model = DeepBagOfFrames(3, 5, projection=4, hidden=2, experts=1, samples=2).eval()
    for norm in (model.input_norm, model.projection_norm, model.hidden_norm):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.5, 2)

    def normed(norm: nn.BatchNorm1d, x: torch.Tensor) -> torch.Tensor:
        return (x - norm.running_mean) / (norm.running_var + 1e-3).sqrt() * norm.weight + norm.bias

    frame = 5 * torch.randn(3)
    units = normed(model.projection_norm, model.projection.weight @ normed(model.input_norm, frame)).clamp(0, 6)
    hidden = normed(model.hidden_norm, model.hidden.weight @ units).clamp(0, 6)
    expected = model.classifier(hidden[None])
    assert torch.allclose(model(frame[None, None]), expected, atol=1e-6)
    frames = torch.stack([frame, -frame])
    both = torch.stack(
        [normed(model.projection_norm, model.projection.weight @ normed(model.input_norm, x)) for x in frames]
    )
    pooled = functional.relu6(both).amax(0)
    hidden = normed(model.hidden_norm, model.hidden.weight @ pooled).clamp(0, 6)
    assert torch.allclose(model(frames[None]), model.classifier(hidden[None]), atol=1e-6)


def test_norms_remember_as_the_reference_does() -> None:
    model = DeepBagOfFrames(2, 3, projection=4, hidden=2, experts=1, samples=2)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    assert [(norm.momentum, norm.eps) for norm in norms] == [(0.001, 1e-3)] * 3
    norms = [module for module in TextCNN(3, filters=2, hidden=4).modules() if isinstance(module, nn.BatchNorm1d)]
    assert [(norm.momentum, norm.eps) for norm in norms] == [(0.01, 1e-3)] * 9


def test_initial_deviations() -> None:
    bag = DeepBagOfFrames(1152, 3, projection=256, hidden=128, experts=1, samples=2)
    assert bag.projection.weight.std().item() == pytest.approx(1152**-0.5, rel=0.02)
    assert bag.hidden.weight.std().item() == pytest.approx(256**-0.5, rel=0.02)
    experts = MixtureOfExperts(100, 40, 2)
    assert experts.gates.weight.abs().max().item() == pytest.approx(math.sqrt(6 / (100 + 120)), rel=0.01)
    decoder = KeywordDecoder(300, 100)
    for parameter in decoder.parameters():
        assert parameter.std().item() == pytest.approx(0.02, rel=0.2)
    assert torch.cat([p.flatten() for p in decoder.parameters()]).mean().item() == pytest.approx(0.001, rel=0.1)


# LSTM


def reference_state(model: StackedLSTM, frames: torch.Tensor) -> torch.Tensor:
    """The top state of BasicLSTM cells, one kernel for inputs and state, 1 added to the forget gate."""
    inputs = list(frames)
    for layer in range(model.lstm.num_layers):
        inward, recurrent, bias, _ = model.lstm.all_weights[layer]
        cell = state = torch.zeros(recurrent.shape[1])
        outputs = []
        for x in inputs:
            i, f, c, o = (torch.cat([inward, recurrent], 1) @ torch.cat([x, state]) + bias).chunk(4)
            cell = cell * (f + 1).sigmoid() + i.sigmoid() * c.tanh()
            state = o.sigmoid() * cell.tanh()
            outputs.append(state)
        inputs = outputs
    return state


@pytest.mark.parametrize("valid", [1, 3, 5])
def test_the_top_state_after_the_last_valid_frame(valid: int) -> None:
    model = StackedLSTM(4, 6, cells=3, layers=2, experts=2)
    nn.init.normal_(model.lstm.bias_ih_l0)
    frames = torch.randn(2, 5, 4)
    expected = model.classifier(reference_state(model, frames[0, :valid])[None])
    padded = frames.clone()
    padded[0, valid:] = 100
    for clips in (frames, padded):
        assert torch.allclose(model(clips, torch.tensor([valid, 5]))[:1], expected, atol=1e-6)


def test_a_video_without_frames_has_the_initial_state() -> None:
    model = StackedLSTM(4, 6, cells=3, layers=1, experts=2)
    expected = model.classifier(torch.zeros(1, 3))
    assert torch.equal(model(torch.randn(1, 5, 4), torch.tensor([0])), expected)


def test_the_forget_bias_is_constant() -> None:
    model = StackedLSTM(1152, 50, cells=4, layers=2, experts=2)
    improvement(model)
    for layer in range(2):
        _, _, bias, constant = model.lstm.all_weights[layer]
        assert constant.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
        assert bias.abs().max() > 0
    kernel = torch.cat([model.lstm.weight_ih_l0, model.lstm.weight_hh_l0], 1)
    assert kernel.abs().max().item() == pytest.approx(math.sqrt(6 / (1152 + 4 + 16)), rel=0.01)


# Text models


def test_convolutions_by_hand() -> None:
    """An even width sees one word more on the right of a place than on its left."""
    model = TextCNN(2, dimensions=1, widths=2, filters=1, hidden=2, dropout=0).eval()
    with torch.no_grad():
        model.convolutions[0].weight.fill_(1)
        model.convolutions[1].weight.copy_(torch.tensor([[[10.0, 1.0]]]))
        model.hidden.weight.copy_(torch.eye(2))
    scale = 1 / math.sqrt(1 + 1e-3)
    words = torch.tensor([[[1.0], [0.0], [0.0], [3.0]]])
    # width 1: the largest word, 3. width 2: 10 x_t + x_(t+1) with a zero after the last word: 10 3 + 0
    assert model.features(words)[0].tolist() == pytest.approx([3 * scale**2, 30 * scale**2])


@pytest.mark.parametrize("width", range(1, 9))
def test_the_padding_of_every_width(width: int) -> None:
    """The window of place t starts (width - 1) // 2 words before it: even widths have their odd word on the right."""
    model = TextCNN(2, dimensions=3, widths=width, filters=4, hidden=4).eval()
    fill(model.hidden, 0)
    with torch.no_grad():
        model.hidden.bias.zero_()
        model.hidden.weight[:, -4:] = torch.eye(4)  # the widest convolution alone
    words = torch.randn(5, 40, 3)
    padded = torch.zeros(5, 40 + 2 * width, 3)
    padded[:, width : width + 40] = words
    convolution = model.convolutions[-1]
    start = width - (width - 1) // 2
    windows = torch.stack([padded[:, start + t : start + t + width] for t in range(40)], 1)
    outputs = torch.einsum("btwd,fdw->btf", windows, convolution.weight)
    assert torch.allclose(model.features(words), (outputs / 1.001**0.5).relu().amax(1) / 1.001**0.5, atol=1e-5)


def test_features_come_before_dropout() -> None:
    model = TextCNN(3, filters=4, hidden=64, dropout=0.9)
    words = torch.randn(8, 40, 300)
    features = model.features(words)
    assert features.shape == (8, 64) and features.min() >= 0
    assert torch.equal(features, model.features(words))  # nothing random
    model.eval()
    logits = functional.linear(model.features(words), model.output.weight, model.output.bias)
    assert torch.allclose(model(words), logits)


def test_the_decoder_by_hand() -> None:
    model = KeywordDecoder(2, 1, hidden=(1, 1)).eval()
    fill(model, 1)
    assert model(torch.tensor([[2.0, 3.0]])).item() == (2 + 3 + 1) + 1 + 1
    assert KeywordDecoder(1024, 7)(torch.zeros(2, 1024)).shape == (2, 7)
