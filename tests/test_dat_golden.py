"""The deformable audio transformer at its full sizes: against outputs of the reference implementation, and one step."""

import csv
import json
import math
import zlib
from pathlib import Path

import pytest
import torch
from dat_reference import published_layout
from torch import Tensor
from torch.nn import functional as F

from workflow_scripts.models.dat import SIZES, Dat, Datar
from workflow_scripts.models.dat_checkpoint import load_square

torch.set_num_threads(1)


def wave(first_phase: float, count: int) -> Tensor:
    """sin(12.9898 i + phase) for i below count; sums of angles save a hundred million sines."""
    low = torch.arange(65536, dtype=torch.float64) * 12.9898
    high = torch.arange(math.ceil(count / 65536), dtype=torch.float64)[:, None] * 65536 * 12.9898 + first_phase
    return (high.sin().float() * low.cos().float() + high.cos().float() * low.sin().float()).flatten()[:count]


def published(layout: Path, values: bool = True) -> dict[str, Tensor]:
    """A state dict of the published key names and shapes, with the values on which the golden outputs rest."""
    state = {}
    with layout.open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            key, shape = row["key"], [int(size) for size in row["shape"].split("x")]
            if not values:
                state[key] = torch.empty(shape, device="meta")
                continue
            value = wave((zlib.crc32(key.encode()) % 10007) / 10007 * 2 * math.pi, math.prod(shape)).reshape(shape)
            if row["dtype"] == "int64":
                value = torch.zeros(shape, dtype=torch.int64)
            elif len(shape) == 1:
                value = 1 + 0.1 * value if key.endswith("weight") else 0.05 * value
            else:
                value = value * math.sqrt(2 / math.prod(shape[1:]))
            state[key] = value
    return state


def signal(*shape: int) -> Tensor:
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return (0.6 * torch.sin(i * 0.0137) + 0.4 * torch.sin(i * 0.2713 + 1)).reshape(shape).float()


@pytest.mark.parametrize("size", SIZES)
def test_the_layout_of_published_weights_is_known(size: str, shared: Path) -> None:
    state = published(shared / "checkpoints" / f"dat_{size}_in1k_224.tsv", values=False)
    assert published_layout(SIZES[size], 7, 224) == {key: tuple(value.shape) for key, value in state.items()}


@torch.inference_mode()
@pytest.mark.parametrize("size", ["tiny", "base"])
def test_the_trunk_reproduces_the_reference_on_a_square_image(size: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "checkpoints"
    golden = json.loads((folder / "golden.json").read_text())[f"dat_{size}_in1k_224"]["logits"]
    state = published(folder / f"dat_{size}_in1k_224.tsv")
    torch.save({"model": state}, tmp_path / "dat.pth")
    trunk = Dat((224, 224), 3, SIZES[size], window=(7, 7), ref_grid="dat2022").eval()
    assert load_square(trunk, tmp_path / "dat.pth") == []
    logits = F.linear(trunk(signal(1, 3, 224, 224)), state["cls_head.weight"], state["cls_head.bias"])[0].double()
    assert len(logits) == golden["n"]
    assert logits[:8].tolist() == pytest.approx(golden["first"], rel=1e-4, abs=1e-5)
    assert logits[-4:].tolist() == pytest.approx(golden["last"], rel=1e-4, abs=1e-5)
    assert logits.mean().item() == pytest.approx(golden["mean"], rel=1e-3, abs=1e-5)
    assert logits.std().item() == pytest.approx(golden["std"], rel=1e-4)


def test_one_step_of_the_full_size_on_a_processor() -> None:
    model = Datar((1024, 128), {"verb": 97, "noun": 293}, "base", adaptor={"weight": 0.005})
    sum(logits.logsumexp(-1).sum() for logits in model(torch.randn(1, 1024, 128)).values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_step_of_the_full_size_on_a_gpu(dtype: torch.dtype) -> None:
    model = Datar((1024, 128), {"class": 309}, "base").cuda()
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        model(torch.randn(4, 1024, 128, device="cuda"))["class"].float().logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
