"""The deformable audio transformer: against its equations, its sizes, its switches and its published weights."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from dat_reference import Reference, bilinear, published_layout
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from workflow_scripts.errors import UserError
from workflow_scripts.models.dat import Dat, Datar, Size
from workflow_scripts.models.dat_checkpoint import load_square
from workflow_scripts.models.deformable_attention import DeformableAttention, reference_points
from workflow_scripts.models.input_adaptor import InputAdaptor, Perturbation
from workflow_scripts.models.window_attention import WindowAttention

torch.set_num_threads(1)

SMALL = {"dims": [8, 8, 16, 16], "depths": [2, 2, 2, 2], "heads": [1, 2, 4, 4], "groups": [2, 4]}
FRAMES, BANDS = 128, 64


def small(**settings: object) -> Datar:
    """A little network whose offsets and tables are large enough to matter."""
    torch.manual_seed(0)
    model = Datar((FRAMES, BANDS), {"verb": 5, "noun": 3}, **{"size": SMALL, "window": (4, 8)} | settings)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "table" in name or "offset" in name:
                value.copy_(torch.randn(value.shape))
    return model.double()


def features(batch: int = 2) -> Tensor:
    return torch.randn(batch, FRAMES, BANDS, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({}, {}),
        ({"ref_grid": "dat2022"}, {"ref_grid": "dat2022"}),
        ({"deform": "no_offs"}, {"deform": "no_offs"}),
        ({"deform": "no_offs", "ref_grid": "dat2022"}, {"deform": "no_offs", "ref_grid": "dat2022"}),
        ({"deform": "swin"}, {"deform": "swin"}),
        ({"offset_stride": 2, "offset_range": 1}, {"stride": 2, "reach": 1}),
        ({"offset_norm": False, "offset_kernel": (5, 5)}, {"norm": False, "kernels": (5, 5)}),
        ({"adaptor": {"weight": 0.5, "kernel": 5}}, {"adaptor_weight": 0.5}),
    ],
    ids=str,
)
def test_the_network_follows_the_equations(settings: dict, reference: dict) -> None:
    model = small(**settings)
    parameters = dict(model.named_parameters())
    expected = Reference(parameters, Size(**SMALL), (4, 8), **reference)
    x = features().requires_grad_()
    weights = torch.linspace(-1, 1, 10, dtype=torch.float64).view(2, 5)

    def gradients(output: dict[str, Tensor]) -> tuple[Tensor, ...]:
        loss = (output["verb"] * weights).sum() + output["noun"].square().sum()
        return torch.autograd.grad(loss, [x, *parameters.values()])

    ours, theirs = model(x), expected(x)
    assert ours.keys() == theirs.keys() == {"verb", "noun"}
    for name, logits in ours.items():
        torch.testing.assert_close(logits, theirs[name], rtol=1e-6, atol=1e-8)
    for name, one, other in zip(["input", *parameters], gradients(ours), gradients(theirs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


@given(row=st.floats(-2, 5), column=st.floats(-2, 6))
def test_bilinear_sampling_is_the_sum_over_all_cells(row: float, column: float) -> None:
    maps = torch.randn(1, 2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = sum(
        max(0, 1 - abs(row - i)) * max(0, 1 - abs(column - j)) * maps[0, :, i, j] for i in range(4) for j in range(5)
    )
    place = (torch.tensor([[row]], dtype=torch.float64), torch.tensor([[column]], dtype=torch.float64))
    torch.testing.assert_close(bilinear(maps, *place)[0, :, 0], torch.as_tensor(expected))


def test_without_offsets_the_points_are_the_cells_on_the_papers_grid_only() -> None:
    x = torch.randn(2, 3, 5, 8, dtype=torch.float64)
    for kind, same in (("paper", True), ("dat2022", False)):
        attention = DeformableAttention(8, 4, 2, (3, 5), ref_grid=kind).double()
        nn.init.zeros_(attention.conv_offset.project.weight)
        positions = attention.positions(attention.proj_q(x))
        assert positions.shape == (2, 2, 15, 2)
        sampled = attention.sample(x, positions)
        assert torch.allclose(sampled, x.flatten(1, 2), atol=1e-6) is same
    assert reference_points((1, 1), "paper").tolist() == [[[0, 0]]]


def test_offsets_reach_as_far_as_they_may() -> None:
    attention = DeformableAttention(4, 1, 1, (4, 10), offset_range=2, norm=False)
    with torch.no_grad():
        attention.conv_offset.depthwise.weight.zero_()
        attention.conv_offset.depthwise.bias.fill_(1)
        attention.conv_offset.project.weight[0] = 1000
        attention.conv_offset.project.weight[1] = -1000
    moved = attention.positions(torch.zeros(1, 4, 10, 4)) - attention.points.flatten(0, 1)
    torch.testing.assert_close(moved[0, 0], torch.tensor([-2 / 10, 2 / 4]).expand(40, 2))  # columns, then rows


@pytest.mark.parametrize("shifted", [False, True])
def test_cells_see_their_window_only(shifted: bool) -> None:
    attention = WindowAttention(4, 2, (4, 12), (4, 6), shifted)
    x = torch.randn(1, 4, 12, 4, requires_grad=True)
    attention(x)[0, 0, 0].sum().backward()
    seen = x.grad.abs().sum(-1)[0].bool()
    # One window covers all rows, so only columns shift: by 3, and the first three are not neighbours of the last.
    expected = torch.zeros(4, 12, dtype=torch.bool)
    expected[:, : 3 if shifted else 6] = True
    assert seen.equal(expected)


@pytest.mark.parametrize(("size", "millions"), [("tiny", 27.8), ("small", 49.3), ("base", 87.4)])
def test_published_sizes_at_the_papers_input(size: str, millions: float) -> None:
    with torch.device("meta"):
        model = Datar((1024, 128), {"class": 309}, size)
        assert model(torch.empty(2, 1024, 128))["class"].shape == (2, 309)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    shapes = {name: tuple(p.shape[1:]) for name, p in model.trunk.named_parameters() if name.endswith("table")}
    assert shapes["stages.2.1.attention.rpe_table"] == (15, 127)
    assert shapes["stages.3.1.attention.rpe_table"] == (7, 63)
    assert shapes["stages.0.1.attention.relative_position_bias_table"] == (15, 15)
    assert shapes["stages.3.0.attention.relative_position_bias_table"] == (7, 15)


def test_an_adaptor_without_weight_and_noise_while_predicting_change_nothing() -> None:
    x = torch.randn(2, 1, 8, 12)
    assert InputAdaptor(0.0)(x).equal(x)
    adaptor = InputAdaptor(0.005)
    assert sum(p.numel() for p in adaptor.parameters()) == 10
    assert not adaptor(x).equal(x)
    tripled = InputAdaptor(0.2, channels=3)
    assert sum(p.numel() for p in tripled.parameters()) == 84
    assert tripled(x).shape == (2, 3, 8, 12)
    noise = Perturbation("gauss", 0.005)
    assert not noise(x).equal(x)
    assert noise.eval()(x).equal(x)
    assert not Perturbation("laplace", 0.005, at_test=True).eval()(x).equal(x)


@pytest.mark.parametrize(("kind", "deviation", "kurtosis"), [("gauss", 1, 3), ("laplace", math.sqrt(2), 6)])
def test_noise_has_its_distribution(kind: str, deviation: float, kurtosis: float) -> None:
    torch.manual_seed(0)
    noise = Perturbation(kind, 0.1)(torch.zeros(400_000)).double() / 0.1
    assert noise.mean().abs() < 0.01
    assert noise.std().item() == pytest.approx(deviation, rel=0.01)
    assert (noise**4).mean().item() / noise.var().item() ** 2 == pytest.approx(kurtosis, rel=0.05)


def test_positions_are_exact_where_the_rest_is_not() -> None:
    attention = small().float().trunk.stages[2][1].attention
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        positions = attention.positions(attention.proj_q(torch.randn(1, 4, 8, 16)))
    assert positions.dtype == torch.float32


def test_noise_reaches_the_network() -> None:
    model, plain, x = small(perturbation={"kind": "gauss", "scale": 0.1}), small(), features()
    assert not model(x)["verb"].allclose(plain(x)["verb"])
    assert model.eval()(x)["verb"].allclose(plain(x)["verb"])


def test_perturbed_and_adapted_networks_learn() -> None:
    torch.manual_seed(0)
    for extra in ({"perturbation": {"kind": "laplace", "scale": 0.005}}, {"adaptor": {"weight": 0.2, "channels": 3}}):
        model = Datar((FRAMES, BANDS), {"class": 4}, SMALL, window=(4, 8), **extra)
        optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
        x, y = torch.randn(8, FRAMES, BANDS), torch.arange(8) % 4
        losses = []
        for _ in range(12):
            loss = F.cross_entropy(model(x)["class"], y)
            optimiser.zero_grad()
            loss.backward()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] / 2


def test_branches_are_dropped_while_training_only() -> None:
    model = small(drop_path=0.5)
    assert [block.drop_path.p for stage in model.trunk.stages for block in stage] == pytest.approx(
        [0.5 * i / 7 for i in range(8)]
    )
    x = features()
    torch.manual_seed(1)
    one, other = model(x)["verb"], model(x)["verb"]
    assert not one.equal(other)
    model.eval()
    assert model(x)["verb"].equal(model(x)["verb"])
    assert model(x)["verb"].allclose(Reference(dict(model.named_parameters()), Size(**SMALL), (4, 8))(x)["verb"])


@pytest.mark.parametrize("form", ["autocast", "weights"])
def test_bfloat16_stays_close(form: str) -> None:
    model, x = small().float(), features().float()
    with torch.inference_mode():
        exact = model(x)["verb"]
        if form == "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                rough = model(x)["verb"]
        else:
            rough = model.bfloat16()(x.bfloat16())["verb"]
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).abs().max() < 0.2 * exact.abs().max()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": "huge"}, "'huge' is none of tiny, small, base"),
        ({"size": SMALL | {"heads": [1, 2, 3, 4]}}, "16 channels, 3 heads"),
        ({"size": SMALL | {"depths": [2, 2]}}, "one number a stage"),
        ({"window": (5, 8)}, "5 x 8 does not divide the feature map of 16 x 32"),
        ({"window": [(4, 8)] * 3}, "each of 4 stages"),
        ({"offset_kernel": (5,)}, "1 sizes for 2 deformable stages"),
        ({"shape": (130, 64)}, "multiples of 32"),
    ],
)
def test_settings_that_do_not_fit_are_refused_in_words(change: dict, said: str) -> None:
    settings = {"shape": (FRAMES, BANDS), "heads": {"class": 4}, "size": SMALL, "window": (4, 8)} | change
    with pytest.raises(UserError, match=said):
        Datar(**settings)


# Published weights -----------------------------------------------------------------------------------------------

WINDOW, SIDE = 2, 64  # of the square images on which the little checkpoint was "trained"


@pytest.fixture
def checkpoint(tmp_path: Path) -> tuple[Path, dict[str, Tensor]]:
    torch.manual_seed(0)
    layout = published_layout(Size(**SMALL), WINDOW, SIDE)
    state = {
        key: torch.randn(shape) if "index" not in key else torch.zeros(shape).long() for key, shape in layout.items()
    }
    torch.save({"model": state}, tmp_path / "dat.pth")
    return tmp_path / "dat.pth", state


def trunk_of(**settings: object) -> Dat:
    return Datar((FRAMES, BANDS), {"class": 4}, **{"size": SMALL, "window": (4, 8)} | settings).trunk


def test_square_weights_are_fitted_to_a_spectrogram(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = checkpoint
    trunk = trunk_of(checkpoint=path)
    ours = trunk.state_dict()
    assert ours["patch_proj.conv.weight"].allclose(state["patch_proj.0.weight"].sum(1, keepdim=True))
    assert ours["stages.2.1.mlp_norm.weight"].equal(state["stages.2.layer_norms.3.norm.weight"])
    assert ours["stages.3.1.attention.proj_k.weight"].equal(state["stages.3.attns.1.proj_k.weight"][:, :, 0, 0])
    # Tables keep their middle, distance zero, and grow by bicubic interpolation.
    table = ours["stages.2.1.attention.rpe_table"]
    small = state["stages.2.attns.1.rpe_table"]
    assert table.shape == (4, 7, 15) and small.shape == (4, 7, 7)
    assert table[:, 3, 7].allclose(small[:, 3, 3], atol=1e-5)
    assert table.equal(F.interpolate(small[None], (7, 15), mode="bicubic")[0])
    window = ours["stages.0.1.attention.relative_position_bias_table"]
    flat = state["stages.0.attns.1.relative_position_bias_table"]
    assert window.shape == (1, 7, 15) and flat.shape == (9, 1)
    assert window[0, 3, 7].allclose(flat[4, 0], atol=1e-5)
    # Nothing of the first values is left.
    assert load_square(trunk, path) == []


def test_three_channels_keep_the_first_convolution(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = checkpoint
    trunk = trunk_of(checkpoint=path, adaptor={"weight": 0.2, "channels": 3})
    assert trunk.state_dict()["patch_proj.conv.weight"].equal(state["patch_proj.0.weight"])


def test_variants_take_what_fits_and_name_what_stays_new(checkpoint: tuple[Path, dict[str, Tensor]]) -> None:
    path, state = checkpoint
    assert load_square(trunk_of(deform="no_offs"), path) == []
    assert load_square(trunk_of(offset_norm=False), path) == []
    last = "stages.3.attns.1.conv_offset.0.weight"
    assert load_square(trunk_of(offset_kernel=(5, 5)), path) == [last]
    swin = trunk_of(deform="swin")
    assert load_square(swin, path) == [f"stages.{i}.attns.1.relative_position_bias_table" for i in (2, 3)]
    joined = torch.cat([state[f"stages.2.attns.1.proj_{part}.weight"][:, :, 0, 0] for part in "qkv"])
    assert swin.state_dict()["stages.2.1.attention.proj_qkv.weight"].equal(joined)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda state: state.pop("stages.1.mlps.0.chunk.linear1.bias"),
            "'stages.1.mlps.0.chunk.linear1.bias' is missing",
        ),
        (
            lambda state: state.update({"stages.1.mlps.0.chunk.linear1.bias": torch.zeros(7)}),
            r"'stages.1.mlps.0.chunk.linear1.bias' has shape \(7,\) instead of \(32,\)",
        ),
        (
            lambda state: state.update({"stages.2.attns.4.proj_q.bias": torch.zeros(16)}),
            "'stages.2.attns.4.proj_q.bias'",
        ),
        (lambda state: state.clear(), "is missing"),
    ],
)
def test_weights_of_another_network_are_refused_in_words(
    checkpoint: tuple[Path, dict[str, Tensor]], change: Callable[[dict], object], said: str
) -> None:
    path, state = checkpoint
    change(state)
    torch.save(state, path)
    with pytest.raises(UserError, match=said):
        trunk_of(checkpoint=path)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a file of PyTorch weights"):
        trunk_of(checkpoint=path)
