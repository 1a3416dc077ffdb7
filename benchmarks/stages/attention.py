"""A training step of the deformable audio transformer, beside its equations one by one, and beside timm's Swin."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.stage import Stage, Work

CLASSES, FRAMES, BANDS, SIZE = 309, 256, 128, "tiny"


def prepare(folder: Path, clips: int) -> None:
    np.save(folder / "features.npy", np.random.default_rng(0).normal(size=(clips, FRAMES, BANDS)).astype(np.float32))


def datar() -> Any:
    import torch

    from workflow_scripts.models.dat import Datar

    torch.set_num_threads(1)
    torch.manual_seed(0)
    return Datar((FRAMES, BANDS), {"class": CLASSES}, SIZE, drop_path=0.0)


def steps(folder: Path, network: Any, forward: Callable[[Any], Any]) -> Work:
    """A step of all clips, forwards and backwards and by AdamW; gives the logits before it."""
    import torch

    torch.set_num_threads(1)
    x = torch.from_numpy(np.load(folder / "features.npy"))
    labels = torch.arange(len(x)) % CLASSES
    optimiser = torch.optim.AdamW(network.parameters(), 1e-5)

    def step() -> np.ndarray:
        optimiser.zero_grad()
        logits = forward(x)
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimiser.step()
        return logits.detach().numpy()

    return step


def ours(folder: Path) -> Work:
    network = datar()
    return steps(folder, network, lambda x: network(x)["class"])


def equations(folder: Path) -> Work:
    """The reference of the test suite, with the same weights."""
    from workflow_scripts.models.dat import SIZES

    sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
    from dat_reference import Reference

    network = datar()
    reference = Reference(dict(network.named_parameters()), SIZES[SIZE], (8, 8))
    return steps(folder, network, lambda x: reference(x)["class"])


def swin(folder: Path) -> Work:
    import timm

    shape = {"img_size": (BANDS, FRAMES), "window_size": 8, "in_chans": 1, "num_classes": CLASSES}
    network = timm.create_model(f"swin_{SIZE}_patch4_window7_224", drop_path_rate=0.0, **shape)
    return steps(folder, network, lambda x: network(x.transpose(1, 2)[:, None]))


STAGE = Stage(
    place=80,
    title=f"a step with deformable attention (DAT-{SIZE[0].upper()}, {FRAMES} × {BANDS})",
    unit="clips",
    size=2,
    prepare=prepare,
    ours=ours,
    peers={"its equations one by one": equations, "timm's Swin of that size": swin},
    unlike=("timm's Swin of that size",),
    repeats=5,
)
