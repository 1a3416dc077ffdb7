"""How sound classifiers learn: optimisers and learning rates."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from audio_files import TINY, job_of, train, write_corpus
from hypothesis import given
from hypothesis import strategies as st
from training_files import curve, first_run, history

from workflow_scripts.errors import UserError
from workflow_scripts.training.schedules import Schedule
from workflow_scripts.training.systems.audio_classifier.run import optimiser
from workflow_scripts.training.systems.audio_classifier.settings import Optimisation

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("sounds"))


@pytest.mark.parametrize("kind", TINY)
def test_what_decays(corpus: Path, tmp_path: Path, kind: str) -> None:
    run = first_run(job_of(corpus, tmp_path, kind, [0]))
    model, found = run.network, run.optimiser
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, free = ([names[id(p)] for p in group["params"]] for group in found.param_groups)
    assert found.param_groups[0]["weight_decay"] == 0.05 and found.param_groups[1]["weight_decay"] == 0
    assert sorted(decayed + free) == sorted(names.values())
    assert not any("norm" in name or "bn" in name or "table" in name or "token" in name for name in decayed)
    assert not any(name.endswith(".bias") or name.endswith("pos_embed") for name in decayed)
    assert any("head" in name for name in decayed)
    if kind == "datar":
        assert any(name.endswith("rpe_table") for name in free)


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_each_optimiser_learns(corpus: Path, tmp_path: Path, name: str) -> None:
    optimisation = {"optimiser": name, "learning_rate": {"sgd": 0.05}.get(name, 0.01), "epochs": 6}
    train(corpus, tmp_path, "resnet", [0], optimisation=optimisation)
    losses = curve(tmp_path, "loss")
    assert losses[-1] < 0.8 * losses[0]


def test_options_reach_the_optimiser() -> None:
    model = torch.nn.Linear(2, 2)
    adam = optimiser(model, Optimisation.check({"epochs": 1, "betas": [0.95, 0.999]}, "toy"))
    assert isinstance(adam, torch.optim.AdamW) and adam.defaults["betas"] == (0.95, 0.999)
    sgd = optimiser(model, Optimisation.check({"epochs": 1, "optimiser": "sgd", "nesterov": True}, "toy"))
    assert isinstance(sgd, torch.optim.SGD) and sgd.defaults["momentum"] == 0.9 and sgd.defaults["nesterov"]


def shares(steps: int, epochs: int, **changes: Any) -> list[float]:
    schedule = Schedule.check(changes, "toy")
    return [schedule.rate(1, step, steps, epochs) for step in range(steps)]


@given(steps=st.integers(1, 200), epochs=st.integers(1, 20), warm_up=st.floats(0, 0.99))
def test_rate_never_exceeds_its_peak(steps: int, epochs: int, warm_up: float) -> None:
    for kind in ("cosine", "constant"):
        found = shares(steps, epochs, kind=kind, warm_up=warm_up)
        rise = round(warm_up * steps)
        assert all(0 < share <= 1 for share in found)
        assert found[:rise] == pytest.approx((np.arange(rise) + 1) / max(rise, 1))
        assert found[rise:] == ([1] * (steps - rise) if kind == "constant" else sorted(found[rise:], reverse=True))


def test_schedules() -> None:
    cosine = shares(100, 10, warm_up=0.1)
    assert cosine[:10] == pytest.approx(np.arange(1, 11) / 10) and cosine[10] == 1 and cosine[55] == pytest.approx(0.5)
    assert (np.diff(cosine[10:]) < 0).all() and 0 < cosine[-1] < 0.01
    assert shares(10, 2, kind="constant", warm_up=0.2) == pytest.approx([0.5] + [1] * 9)
    steps = shares(12, 6, kind="steps", warm_up=0, milestones=[2, 5], factor=0.1)
    assert steps == pytest.approx([1] * 4 + [0.1] * 6 + [0.01] * 2)
    with pytest.raises(UserError, match="the schedule 'steps' needs milestones"):
        Schedule.check({"kind": "steps"}, "toy")
    with pytest.raises(UserError, match="the schedule 'cosine' takes no milestones"):
        Schedule.check({"milestones": [3]}, "toy")


def test_history_holds_the_rate(corpus: Path, tmp_path: Path) -> None:
    schedule = {"kind": "steps", "warm_up": 0, "milestones": [1]}
    train(corpus, tmp_path, "resnet", [0], optimisation={"schedule": schedule})
    rates = {row["epoch"]: row["learning_rate"] for row in history(tmp_path)}
    assert rates == pytest.approx({1.0: 3e-3, 2.0: 3e-4})
    assert [row["step"] for row in history(tmp_path)] == [3, 6, 9, 12]
