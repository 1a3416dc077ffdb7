"""How fast a mixture of experts of the paper's size learns, and how fast its input is read, in one run.

    python -m benchmarks.moe_step --device auto

Prints examples a second of: whole steps (video and audio, 2 experts, 3,862 classes, batches of 1024) on a batch that is
in memory; the stream of shuffled feature shards, each row group decoded anew; and both together, the next batch being
read while the present one is learnt from. A ratio above 1 says that reading does not hold the network up. The shards
hold random numbers, which compress worse than features do.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import typer

from workflow_scripts import shards
from workflow_scripts.features.extractors.youtube8m_video import Extractor
from workflow_scripts.formats.youtube8m import AUDIO, RGB
from workflow_scripts.training.job import Device, Precision, TrainingJob
from workflow_scripts.training.sampling import prefetch
from workflow_scripts.training.stream import Block
from workflow_scripts.training.train import prepare_torch

CLASSES, BATCH = 3862, 1024
SETTINGS: dict[str, Any] = {
    "model": {"kind": "moe", "inputs": ["visual", "audio"], "experts": 2},
    "optimisation": {"learning_rate": 0.01, "batch": BATCH, "epochs": 1},
    "train_split": "train",
    "dev_split": "train",
    "predict_splits": ["train"],
    "cache_megabytes": 0,
}


def write_shards(folder: Path, clips: int) -> list[Path]:
    """Two shards of random features, three labels a clip."""
    random = np.random.default_rng(0)
    columns = Extractor().columns()
    leading = [
        pa.field("clip_id", pa.string()),
        pa.field("split", pa.string()),
        pa.field("labels", pa.list_(pa.int32())),
    ]
    metadata = {"classes": json.dumps([str(number) for number in range(CLASSES)])}
    schema = pa.schema([*leading, *columns, *shards.STATE], metadata=metadata)

    def rows(part: int) -> Iterator[shards.Row]:
        for number in range(clips // 2):
            labels = random.choice(CLASSES, 3, replace=False).tolist()
            features = shards.pack(random.normal(size=(1, RGB + AUDIO)), columns[0])
            row = {"clip_id": f"{part}-{number}", "split": "train", "labels": labels, "status": "ok"}
            yield row | {columns[0].name: features}

    paths = [folder / f"{part}.parquet" for part in range(2)]
    for part, path in enumerate(paths):
        shards.write(path, rows(part), schema)
    return paths


def rate(work: Callable[[], int]) -> float:
    """Examples a second of wall time."""
    start = time.perf_counter()
    examples = work()
    return examples / (time.perf_counter() - start)


def main(device: Device = "auto", precision: Precision = "32-true", clips: int = 8 * BATCH, threads: int = 0) -> None:
    place = prepare_torch(device, precision, threads or torch.get_num_threads())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = {"system": "video_tagger", "settings": SETTINGS, "manifest": folder, "checkpoints": folder}
        features = {"video": write_shards(folder, clips)}
        how = {"device": place, "precision": precision}
        job = TrainingJob.check({**given, **how, "features": features, "seeds": [0], "clip_seconds": 1}, "job")
        system = job.settings
        data = system.data(job)
        run = system.run(job, data, 0)

        def learn(blocks: Iterator[Block]) -> int:
            examples = run.examples
            for block in blocks:
                run.step(*run.on_device(block))
            run.loss.item()  # waits for the GPU
            return run.examples - examples

        first = next(run.batches())
        learn(iter([first]))  # warm up
        run.batch = 0
        step = rate(lambda: learn(iter([first] * max(clips // BATCH // 2, 1))))
        run.batch = 0
        read = rate(lambda: sum(len(block["clip_id"]) for block in run.batches()))
        both = rate(lambda: learn(prefetch(run.batches())))
    print(f"{place}, {precision}, {torch.get_num_threads()} threads, {clips} clips: examples a second")
    print(f"{'steps alone':20}{step:10.0f}\n{'reading alone':20}{read:10.0f}\n{'both together':20}{both:10.0f}")
    print(f"reading / steps: {read / step:.1f}; both together / steps alone: {both / step:.2f}")


if __name__ == "__main__":
    typer.run(main)
