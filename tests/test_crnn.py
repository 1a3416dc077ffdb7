"""The CRNN: sizes stated by the paper, pooling, and refusals."""

import pytest
import torch

from workflow_scripts.models.crnn import CRNN, convolution_table, pooled_frames
from workflow_scripts.models.pooling import linear_softmax
from workflow_scripts.training.systems.mean_teacher_sed.settings import Network, System

DIMENSIONS = {"spectral": 128, "auditory": 128, "visual": 4096}
FUSED, ALONE = {"auditory": 16, "visual": 4}, {"auditory": 64, "visual": 16}


def network(letters: str) -> Network:
    """The paper's network for a row of its results table: any of S, A, V."""
    spectral = "spectral" if "S" in letters else None
    sizes = FUSED if spectral else ALONE
    return Network(spectral=spectral, projections={name: sizes[name] for name in sizes if name[0].upper() in letters})


def build(letters: str) -> CRNN:
    return System(classes=list("abcdefghij"), network=network(letters)).build(DIMENSIONS)


@pytest.mark.parametrize(
    ("letters", "width", "millions"),
    [
        ("S", 128, 1.038),
        ("SV", 132, 1.058),
        ("SA", 144, 1.053),
        ("SAV", 148, 1.072),
        ("V", 16, 0.477),
        ("A", 64, 0.456),
        ("AV", 80, 0.534),
    ],
)
def test_parameters_and_gru_inputs_of_the_seven_settings(letters: str, width: int, millions: float) -> None:
    model = build(letters)
    assert model.gru.input_size == width
    assert round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 3) == millions


def test_full_size_frames() -> None:
    pools = Network().pools
    assert [pooled_frames(604, pools[:n]) for n in (0, 1, 2, 7)] == [604, 302, 151, 151]


def test_shapes_and_range() -> None:
    model = build("SAV").eval()
    features = {"spectral": (604, 128), "auditory": (151, 128), "visual": (151, 4096)}
    with torch.no_grad():
        clips, frames = model({name: torch.rand(2, *shape) for name, shape in features.items()})
    assert clips.shape == (2, 10) and frames.shape == (2, 151, 10)
    assert clips.min() > 0 and clips.max() < 1 and frames.min() > 0 and frames.max() < 1


def test_hyperparameters_can_be_read_off_the_built_network() -> None:
    rows = convolution_table(build("S"))
    assert [row["channels"] for row in rows] == [16, 32, 64, 128, 128, 128, 128]
    assert {row["kernel"] for row in rows} == {(3, 3)} and {row["stride"] for row in rows} == {(1, 1)}
    assert [row["pool"] for row in rows] == [(2, 2)] * 2 + [(1, 2)] * 5
    assert all(row["pool"] == row["pool_stride"] for row in rows)
    assert convolution_table(build("A")) == []


def test_unused_streams_do_not_change_the_output() -> None:
    model = build("A").eval()
    auditory = torch.rand(1, 151, 128)
    with torch.no_grad():
        alone = model({"auditory": auditory})[1]
        beside = model({"auditory": auditory, "visual": torch.rand(1, 151, 4096)})[1]
    assert torch.equal(alone, beside)


def test_standardisation_uses_the_stored_statistics() -> None:
    system = System(classes=["a"], network=network("A"), standardise=["auditory"])
    model = system.build(DIMENSIONS).eval()
    features = torch.rand(1, 151, 128)
    with torch.no_grad():
        plain = model({"auditory": features})[1]
        model.standardise["auditory"].mean.fill_(3.0)
        model.standardise["auditory"].deviation.fill_(2.0)
        moved = model({"auditory": 2 * features + 3})[1]
    assert torch.allclose(plain, moved, atol=1e-6)
    assert "standardise.auditory.mean" in model.state_dict()


def test_linear_softmax_closed_forms() -> None:
    constant = torch.full((1, 7, 1), 0.3)
    assert linear_softmax(constant).item() == pytest.approx(0.3, rel=1e-5)
    one_of_ten = torch.zeros(1, 10, 1)
    one_of_ten[0, 4] = 0.9
    assert linear_softmax(one_of_ten).item() == pytest.approx(0.9, rel=1e-5)
    mixed = torch.tensor([0.2, 0.6]).reshape(1, 2, 1)
    assert linear_softmax(mixed).item() == pytest.approx((0.04 + 0.36) / 0.8, rel=1e-5)


def test_linear_softmax_of_silence_is_zero_with_a_finite_slope() -> None:
    frames = torch.zeros(1, 5, 2, requires_grad=True)
    pooled = linear_softmax(frames)
    pooled.sum().backward()
    assert pooled.eq(0).all() and frames.grad is not None and frames.grad.isfinite().all()


def test_bands_must_be_pooled_to_one() -> None:
    with pytest.raises(ValueError, match=r"64 bands .* to 0"):
        System(classes=["a"]).build(DIMENSIONS | {"spectral": 64})
