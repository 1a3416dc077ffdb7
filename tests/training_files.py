"""What a training job has written, for tests."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors.torch import load_file


def contents(folder: Path) -> tuple[dict[str, bytes], list[dict[str, Any]], list[dict[str, Any]]]:
    """Weights, predictions and history, to be compared bit by bit."""
    weights = {key: value.numpy().tobytes() for key, value in load_file(folder / "weights.safetensors").items()}
    tables = [pq.read_table(folder / f"{name}.parquet").to_pylist() for name in ("predictions", "history")]
    return weights, tables[0], tables[1]
