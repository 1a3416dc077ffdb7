"""The deformable audio transformer at its full size beside its equations and beside a Swin transformer, in one run.

    python -m benchmarks.deformable_attention [--device auto] [--batch 1] [--repeats 2] [--threads 1]

Prints seconds of a forward pass and of a training step (AdamW) and the peak memory of: ours (DAT-B, 1024 frames x 128
bands, 309 classes); the step-by-step reference of the test suite with the same weights, whose logits must agree; timm's
Swin-B for the same input, the nearest backbone there. Each runs in a process of its own. Ratios are to ours. Seconds
are of processor time on a CPU, which other work on the machine disturbs less, and of wall time on a GPU.
"""

import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import torch
import typer
from torch import Tensor, nn

from workflow_scripts.models.dat import SIZES, Datar
from workflow_scripts.training.job import Device
from workflow_scripts.training.train import prepare_torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from dat_reference import Reference

FRAMES, BANDS, CLASSES = 1024, 128, 309


class Measured(NamedTuple):
    """Seconds, and mebibytes at the peak of the forward pass and of the step."""

    forward: float
    step: float
    forward_memory: float
    step_memory: float
    logits: list[float]


def made(name: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """A network and its forward pass."""
    if name == "swin":
        import timm

        swin = timm.create_model(
            "swin_base_patch4_window7_224",
            img_size=(BANDS, FRAMES),
            window_size=8,
            in_chans=1,
            num_classes=CLASSES,
            drop_path_rate=0.0,
        )
        return swin, lambda x: swin(x.transpose(1, 2)[:, None])
    model = Datar((FRAMES, BANDS), {"class": CLASSES}, "base", drop_path=0.0)
    if name == "ours":
        return model, lambda x: model(x)["class"]
    reference = Reference(dict(model.named_parameters()), SIZES["base"], (8, 8))
    return model, lambda x: reference(x)["class"]


def measure(name: str, device: Device, batch: int, repeats: int, threads: int) -> Measured:
    """Times a network; the shortest of the repeats counts."""
    place = torch.device(prepare_torch(device, "32-true", threads))
    torch.manual_seed(0)
    model, forward = made(name)
    model.to(place)
    x = torch.randn(batch, FRAMES, BANDS, device=place)
    labels = torch.arange(batch, device=place)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-5)

    def peak() -> float:
        if place.type == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

    def now() -> float:
        if place.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def timed(work: Callable[[], object]) -> float:
        seconds = []
        for _ in range(repeats + 1):  # the first one warms up
            start = now()
            work()
            seconds.append(now() - start)
        return min(seconds[1:])

    def step() -> None:
        optimiser.zero_grad()
        nn.functional.cross_entropy(forward(x), labels).backward()
        optimiser.step()

    with torch.inference_mode():
        logits = forward(x)[0].tolist()
        seconds = timed(lambda: forward(x))
    before = peak()
    return Measured(seconds, timed(step), before, peak(), logits)


def main(
    device: Device = "auto", batch: int = 1, repeats: int = 2, threads: int = 1, names: str = "ours,reference,swin"
) -> None:
    found = {}
    for name in names.split(","):
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found[name] = pool.submit(measure, name, device, batch, repeats, threads).result()
    ours = found["ours"]
    print(f"{'':12}{'forward s':>12}{'ratio':>8}{'step s':>12}{'ratio':>8}{'forward MiB':>14}{'step MiB':>10}")
    for name, one in found.items():
        print(
            f"{name:12}{one.forward:12.3f}{one.forward / ours.forward:8.2f}{one.step:12.3f}{one.step / ours.step:8.2f}"
            f"{one.forward_memory:14.0f}{one.step_memory:10.0f}"
        )
    if "reference" in found:
        apart = max(abs(a - b) for a, b in zip(ours.logits, found["reference"].logits, strict=True))
        print(f"logits of ours and the reference differ by at most {apart:.1e}")


if __name__ == "__main__":
    typer.run(main)
