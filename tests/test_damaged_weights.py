"""Weights and checkpoints that are not what was written: told in one sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from workflow_scripts.errors import UserError
from workflow_scripts.models.pretrained import pretrained
from workflow_scripts.training import outputs

SPOILT: dict[str, Any] = {
    "list": [torch.zeros(2)],
    "another dictionary": {"epoch": 1},
    "other keys": {"weights": torch.zeros(2, 2), "bias": torch.zeros(2)},
    "other shapes": {"weight": torch.zeros(3, 2), "bias": torch.zeros(3)},
}
BYTES = {"text": b"no weights\n", "a letter": b"a", "empty": b"", "page": b"<!doctype html>", "stop": b"."}


@pytest.mark.parametrize("kind", [*SPOILT, *BYTES])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_published_weights(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    if kind in BYTES:
        path.write_bytes(BYTES[kind])
    else:
        torch.save(SPOILT[kind], path)
    with pytest.raises(UserError, match=str(path)):
        pretrained(lambda: torch.nn.Linear(2, 2), path)


def written(folder: Path) -> Path:
    """Weights as a job of two seeds writes them."""
    own = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(3)}
    path = folder / "weights.safetensors"
    digests = {"0": outputs.weights_digest(own), "1": outputs.weights_digest(own)}
    save_file({f"{seed}/{name}": value for seed in (0, 1) for name, value in own.items()}, path, digests)
    return path


def test_flipped_bits_are_found(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert outputs.read_weights(tmp_path, 1)["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    whole = path.read_bytes()
    for place in range(len(whole) - 16, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UserError, match=r"weights\.safetensors: the weights of seed \d are damaged; delete it and"):
            for seed in (0, 1):
                outputs.read_weights(tmp_path, seed)


@pytest.mark.parametrize("content", [b"", b"text", b"\xff" * 100])
def test_no_weights(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(UserError, match=r"weights\.safetensors: not a readable file of weights .*; delete it and run"):
        outputs.read_weights(tmp_path, 0)


def test_weights_of_older_runs_are_read(tmp_path: Path) -> None:
    save_file({"0/a": np.zeros(2, np.float32)}, tmp_path / "weights.safetensors")
    assert outputs.read_weights(tmp_path, 0)["a"].tolist() == [0, 0]
