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
from workflow_scripts.training.data import Inputs, ahead
from workflow_scripts.training.tagger_inputs import Feed, open_stream, tensors, unpacked_labels
from workflow_scripts.training.tagger_job import Run

from workflow_scripts import shards
from workflow_scripts.features.extractors.youtube8m_video import Extractor
from workflow_scripts.formats.youtube8m import AUDIO, RGB
from workflow_scripts.models.mixture_of_experts import MixtureOfExperts
from workflow_scripts.training.stream import Block
from workflow_scripts.training.systems.video_tagger import System
from workflow_scripts.training.train import Device, prepare_torch

CLASSES, BATCH = 3862, 1024
SETTINGS: dict[str, Any] = {
    "model": {"kind": "moe", "inputs": ["visual", "audio"], "experts": 2},
    "optimisation": {"learning_rate": 0.01, "batch": BATCH, "epochs": 1},
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


def main(device: Device = Device.AUTO, precision: str = "32-true", clips: int = 8 * BATCH, threads: int = 0) -> None:
    place = torch.device(prepare_torch(device, threads or torch.get_num_threads()))
    system = System.check(SETTINGS, "settings")
    with tempfile.TemporaryDirectory() as folder:
        inputs = Inputs(Path(folder), {"video": write_shards(Path(folder), clips)}, 1.0)
        stream, classes = open_stream(system, inputs, None, 0, ["train"])
        model = MixtureOfExperts(RGB + AUDIO, len(classes), 2)
        run = Run(model, Feed(system, torch.empty(0), None), system, 0, place, precision)

        def batches() -> Iterator[Block]:
            return stream.shuffled("train", BATCH, system.optimisation.shuffle_rows, 0, 0)

        def learn(blocks: Iterator[Block]) -> int:
            examples = 0
            for block in blocks:
                targets = torch.from_numpy(unpacked_labels(block, len(classes))).to(place).float()
                run.step(tensors(block, place), targets)
                examples += len(targets)
            run.loss.item()  # waits for the GPU
            return examples

        first = next(batches())
        learn(iter([first]))  # warm up
        step = rate(lambda: learn(iter([first] * max(clips // BATCH // 2, 1))))
        read = rate(lambda: sum(len(block["clip_id"]) for block in batches()))
        both = rate(lambda: learn(ahead(batches())))
    print(f"{place.type}, {precision}, {torch.get_num_threads()} threads, {clips} clips: examples a second")
    print(f"{'steps alone':20}{step:10.0f}\n{'reading alone':20}{read:10.0f}\n{'both together':20}{both:10.0f}")
    print(f"reading / steps: {read / step:.1f}; both together / steps alone: {both / step:.2f}")


if __name__ == "__main__":
    typer.run(main)
