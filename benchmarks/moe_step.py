"""How fast a mixture of experts of the paper's size learns, and how fast its input is read, in one run.

    python -m benchmarks.moe_step [--device cuda] [--precision bfloat16]

Prints examples a second of: whole steps (video and audio, 2 experts, 3,862 classes, batches of 1024) on a batch that is
in memory; the stream of shuffled feature shards, each row group decoded anew; and both together, the next batch being
read while the present one is learnt from. A ratio above 1 says that reading does not hold the network up. The shards
hold random numbers, which compress worse than features do.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
import typer
from torch.nn import functional

from workflow_scripts import shards
from workflow_scripts.features.extractors.youtube8m_video import Extractor
from workflow_scripts.formats.youtube8m import AUDIO, RGB
from workflow_scripts.models.losses import sum_cross_entropy
from workflow_scripts.models.mixture_of_experts import MixtureOfExperts
from workflow_scripts.training.stream import Block, Source, Stream

CLASSES = 3862
POOL = 65_536  # clips from which batches are drawn


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


def decode(table: pa.Table) -> Block:
    """Features (clips, 1, 1152), and whether a clip has a label (clips, classes)."""
    targets = np.zeros((len(table), CLASSES), bool)
    lists = table["labels"].combine_chunks()
    targets[lists.value_parent_indices().to_numpy(), lists.flatten().to_numpy()] = True
    return {"features": shards.stack(table, "features"), "targets": targets}


def prefetched(blocks: Iterator[Block]) -> Iterator[Block]:
    """The blocks, the next one being read in a thread while the present one is used."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, blocks, None)
        while (block := pending.result()) is not None:
            pending = pool.submit(next, blocks, None)
            yield block


def rate(work: Callable[[], int]) -> float:
    """Examples a second of wall time."""
    start = time.perf_counter()
    examples = work()
    return examples / (time.perf_counter() - start)


def main(
    device: str = "cpu", precision: str = "float32", clips: int = 8192, batch: int = 1024, threads: int | None = None
) -> None:
    torch.set_num_threads(threads or torch.get_num_threads())
    torch.manual_seed(0)
    place, half = torch.device(device), getattr(torch, precision)
    model = MixtureOfExperts(RGB + AUDIO, CLASSES, 2).to(place)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    with tempfile.TemporaryDirectory() as folder:
        source = Source("video", write_shards(Path(folder), clips), ["features", "labels"], decode)
        stream = Stream([source], ["train"], cache_bytes=0)

        def batches() -> Iterator[Block]:
            return stream.shuffled("train", batch, POOL, seed=0, epoch=0)

        def learn(blocks: Iterator[Block]) -> int:
            examples = 0
            for block in blocks:
                features = torch.from_numpy(block["features"]).to(place).float().flatten(1)
                targets = torch.from_numpy(block["targets"]).to(place).float()
                with torch.autocast(place.type, half, enabled=half != torch.float32):
                    outputs = model(functional.normalize(features))
                loss = sum_cross_entropy(outputs, targets)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                examples += len(targets)
            loss.item()  # waits for the GPU
            return examples

        first = next(batches())
        learn(iter([first]))  # warm up
        step = rate(lambda: learn(iter([first] * max(clips // batch // 2, 1))))
        read = rate(lambda: sum(len(block["clip_id"]) for block in batches()))
        both = rate(lambda: learn(prefetched(batches())))
    print(f"{place.type}, {precision}, {torch.get_num_threads()} threads, {clips} clips: examples a second")
    print(f"{'steps alone':20}{step:10.0f}\n{'reading alone':20}{read:10.0f}\n{'both together':20}{both:10.0f}")
    print(f"reading / steps: {read / step:.1f}; both together / steps alone: {both / step:.2f}")


if __name__ == "__main__":
    typer.run(main)
