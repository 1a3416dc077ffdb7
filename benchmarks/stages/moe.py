"""A training step of the mixture of experts of yt8m_text, beside the starter code's operations written out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stage import Stage, Work, agree

INPUTS, CLASSES, EXPERTS = 1152, 3862, 2


def prepare(folder: Path, videos: int) -> None:
    """A batch of so many."""
    random = np.random.default_rng(0)
    np.savez(
        folder / "batch.npz",
        features=random.normal(size=(videos, INPUTS)).astype(np.float32),
        labels=random.integers(0, CLASSES, (videos, 3)),
    )


def learning(folder: Path, fused: bool, loss_of: Callable[[Any, Any, Any], Any]) -> Work:
    """A step on the batch; gives the loss before it."""
    import torch

    from workflow_scripts.models.mixture_of_experts import MixtureOfExperts

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = MixtureOfExperts(INPUTS, CLASSES, EXPERTS)
    with np.load(folder / "batch.npz") as found:
        features, labels = torch.from_numpy(found["features"]), torch.from_numpy(found["labels"])
    targets = torch.zeros(len(labels), CLASSES).scatter_(1, labels, 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01, fused=fused, foreach=False)

    def step() -> float:
        loss = loss_of(network, features, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return float(loss.item())

    return step


def ours(folder: Path) -> Work:
    from torch.nn import functional

    from workflow_scripts.models.losses import sum_cross_entropy

    return learning(folder, True, lambda network, x, y: sum_cross_entropy(network(functional.normalize(x)), y))


def plain(folder: Path) -> Work:
    """As in `video_level_models.py` and `losses.py`: gates and experts as matrices of a row for each class."""

    def loss_of(network: Any, x: Any, y: Any) -> Any:
        x = x / (x * x).sum(1, keepdim=True).clamp(min=1e-24).sqrt()
        gates = (x @ network.gates.weight.T).reshape(-1, EXPERTS + 1)
        experts = (x @ network.experts.weight.T + network.experts.bias).reshape(-1, EXPERTS)
        probabilities = (gates.softmax(1)[:, :EXPERTS] * experts.sigmoid()).sum(1).reshape(-1, CLASSES)
        entropy = y * (probabilities + 1e-5).log() + (1 - y) * (1 - probabilities + 1e-5).log()
        return (-entropy).sum(1).mean()

    return learning(folder, False, loss_of)


def same(ours: Work, theirs: Work) -> str:
    """That the losses are the same."""
    one, other = ours(), theirs()
    agree(abs(one - other) < 1e-4 * one, f"the loss is {other:.6g}, and ours {one:.6g}")
    return f"the loss differs by {abs(one - other) / one:.0e} of it"


STAGE = Stage(
    place=81,
    title=f"a step of the mixture of experts, {CLASSES} classes",
    unit="videos",
    size=1024,
    prepare=prepare,
    ours=ours,
    peers={"its equations one by one": plain},
    same=same,
    repeats=7,
)
