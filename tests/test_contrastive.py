"""Contrastive objectives: values, gradients, limits of the temperature, and the paper's Table 2."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.models.contrastive import Objective, gradient_weights, nt_logistic, nt_xent
from workflow_scripts.tables.analytic.contrastive_gradients import Source

OBJECTIVES = [nt_xent, nt_logistic]
TABLE2 = {  # similarity of the positive and of the negative sample: f_Xent and f_Log as printed
    ("0.99", "0.5"): ("-0.380", "-0.622"),
    ("0.5", "0.5"): ("-0.500", "-0.622"),
    ("0.01", "0.5"): ("-0.620", "-0.622"),
    ("-0.5", "0.5"): ("-0.731", "-0.622"),
    ("0.99", "-0.5"): ("-0.184", "-0.378"),
    ("0.5", "-0.5"): ("-0.269", "-0.378"),
    ("0.01", "-0.5"): ("-0.375", "-0.378"),
    ("-0.5", "-0.5"): ("-0.500", "-0.378"),
}
SIMILARITIES = st.floats(-1, 1)


def at(objective: Objective, positive: float, negatives: list[float], temperature: float) -> float:
    return objective(
        torch.tensor(positive, dtype=torch.float64), torch.tensor(negatives, dtype=torch.float64), temperature
    ).item()


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape).double(), dim=-1)


def test_table_2() -> None:
    found = Source().cells({})
    assert len(found) == 16
    for (positive, negative), (xent, logistic) in TABLE2.items():
        row = f"sim_pos={positive} sim_neg={negative}"
        assert (found[row, "f_Xent"], found[row, "f_Log"]) == (xent, logistic)


@given(SIMILARITIES, SIMILARITIES, st.floats(0.05, 5))
def test_values_of_the_formulas(positive: float, negative: float, t: float) -> None:
    total = math.exp(positive / t) + math.exp(negative / t)
    assert at(nt_xent, positive, [negative], t) == pytest.approx(positive / t - math.log(total), abs=1e-9)
    expected = -math.log1p(math.exp(-positive / t)) - math.log1p(math.exp(negative / t))
    assert at(nt_logistic, positive, [negative], t) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
def test_gradient_by_the_anchor(objective: Objective, temperature: float) -> None:
    """Finite differences by the anchor, of the dot products, equal the samples' vectors weighed by the weights."""
    torch.manual_seed(0)
    anchor, positive, negatives = unit(6), unit(6), unit(4, 6)

    def value(u: torch.Tensor) -> float:
        return objective(u @ positive, negatives @ u, temperature).item()

    steps = 1e-5 * torch.eye(6).double()
    differences = torch.tensor([(value(anchor + step) - value(anchor - step)) / 2e-5 for step in steps]).double()
    of_positive, of_negatives = gradient_weights(objective, anchor @ positive, negatives @ anchor, temperature)
    assert torch.allclose(of_positive * positive + of_negatives @ negatives, differences, atol=1e-8)


@given(SIMILARITIES, st.lists(SIMILARITIES, min_size=1, max_size=5), st.floats(0.1, 5))
def test_weights_of_the_formulas(positive: float, negatives: list[float], t: float) -> None:
    """NT-Xent weighs negatives by a softmax over all samples (section 2.2), NT-Logistic each on its own (2.3)."""
    tensors = torch.tensor(positive, dtype=torch.float64), torch.tensor(negatives, dtype=torch.float64)
    of_positive, of_negatives = gradient_weights(nt_xent, *tensors, t)
    exponentials = [math.exp(s / t) for s in (positive, *negatives)]
    shares = [e / sum(exponentials) for e in exponentials]
    assert of_positive.item() == pytest.approx((1 - shares[0]) / t, abs=1e-9)
    assert of_negatives.tolist() == pytest.approx([-share / t for share in shares[1:]], abs=1e-9)
    of_positive, of_negatives = gradient_weights(nt_logistic, *tensors, t)
    assert of_positive.item() == pytest.approx(1 / (1 + math.exp(positive / t)) / t, abs=1e-9)
    assert of_negatives.tolist() == pytest.approx([-1 / (1 + math.exp(-s / t)) / t for s in negatives], abs=1e-9)


def test_a_cosine_of_an_anchor_that_is_not_normalised_adds_a_projection() -> None:
    torch.manual_seed(0)
    anchor, positive, negative = unit(6).requires_grad_(), unit(6), unit(6)
    cosine = torch.nn.functional.cosine_similarity
    nt_xent(cosine(anchor, positive, dim=0), cosine(anchor, negative, dim=0)[None], 1.0).backward()
    weights = gradient_weights(nt_xent, anchor @ positive, (anchor @ negative)[None], 1.0)
    plain = weights[0] * positive + weights[1] * negative
    assert not torch.allclose(anchor.grad, plain, atol=1e-3)
    direction = anchor.detach()
    assert torch.allclose(anchor.grad, plain - (plain @ direction) * direction, atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_high_temperatures(count: int) -> None:
    """Section 2.4 prints log 2, "N in case of more negative samples": it is log(N + 1) for N negatives."""
    negatives = [0.9 - n / 10 for n in range(count)]
    assert at(nt_xent, 0.3, negatives, 1e9) == pytest.approx(-math.log(count + 1), abs=1e-6)
    assert at(nt_logistic, 0.3, negatives, 1e9) == pytest.approx((count + 1) * math.log(0.5), abs=1e-6)
    for objective in OBJECTIVES:
        weights = gradient_weights(objective, torch.tensor(0.3), torch.tensor(negatives), 1e9)
        assert max(weight.abs().max() for weight in weights) < 1e-8


def test_low_temperatures() -> None:
    """NT-Xent is 0 where the positive is the most similar, otherwise -gap / t; NT-Logistic asks for the right signs."""
    t = 1e-3
    assert at(nt_xent, 0.5, [0.4, -0.5], t) == pytest.approx(0, abs=1e-9)
    assert at(nt_xent, 0.4, [0.5, -0.5], t) == pytest.approx(-0.1 / t, rel=1e-9)
    assert at(nt_logistic, 0.4, [-0.5], t) == pytest.approx(0, abs=1e-9)
    assert at(nt_logistic, 0.5, [0.4], t) == pytest.approx(-0.4 / t, rel=1e-9)
    assert at(nt_logistic, -0.5, [-0.4], t) == pytest.approx(-0.5 / t, rel=1e-9)


def test_batches() -> None:
    positives, negatives = torch.rand(5), torch.rand(5, 3)
    for objective in OBJECTIVES:
        together = objective(positives, negatives, 0.5)
        assert together.shape == (5,)
        alone = torch.stack([objective(positives[n], negatives[n], 0.5) for n in range(5)])
        assert torch.allclose(together, alone)
        of_positive, of_negatives = gradient_weights(objective, positives, negatives, 0.5)
        assert of_positive.shape == (5,) and of_negatives.shape == (5, 3)
