"""From the predictions of millions of videos to the interval of a cell: time and memory as the videos become more.

    python -m benchmarks.table_evidence --videos 62500 --growth 4 --steps 3

For each number of videos, what one experiment needs: its scoring with 1,000 replicates, then a table's cell from these.
Each runs in a process of its own and prints its CPU seconds, also for a million videos and seed, its peak memory and
what it left on the disk. The videos have the shape of YouTube-8M's: lists of 100 of 3,862 classes, three labels.
"""

import concurrent.futures
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from workflow_scripts.errors import run
from workflow_scripts.scores.families.multilabel import Scorer
from workflow_scripts.scores.plan import Score
from workflow_scripts.settings.tables import Score as Cell
from workflow_scripts.shards import unstack
from workflow_scripts.tables.evidence import Evidence, Side
from workflow_scripts.training.outputs import ranking_schema

LABELS, ROWS = 3, 8192
FILES = "scores", "counts", "replicates"


def batches(videos: int) -> Iterator[list[str]]:
    """The ids of the videos, some at a time."""
    for start in range(0, videos, ROWS):
        yield [f"{number:09x}" for number in range(start, min(start + ROWS, videos))]


def lists(videos: int, classes: int, top: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Lists of different classes (videos, top) and falling scores."""
    width = classes // top
    found = random.integers(0, width, size=(videos, top)) + width * np.arange(top)
    order = random.random((videos, top)).argsort(axis=1)
    return np.take_along_axis(found, order, axis=1), -np.sort(-random.random((videos, top)), axis=1)


def write_files(folder: Path, videos: int, seeds: int, classes: int, top: int) -> None:
    """A manifest, and predictions of which about one in five is a label at the head of the list."""
    schema = ranking_schema([str(number) for number in range(classes)], top)
    text = pa.string()
    about = pa.schema([("clip_id", text), ("split", text), ("labels", pa.list_(text))])
    random = np.random.default_rng(0)
    with (
        pq.ParquetWriter(folder / "manifest.parquet", about) as manifest,
        pq.ParquetWriter(folder / "predictions.parquet", schema, compression="zstd") as predictions,
    ):
        for ids in batches(videos):
            for seed in range(seeds):
                found, scores = lists(len(ids), classes, top, random)
                arrays = [unstack(a, schema.field(n)) for n, a in (("classes", found), ("scores", scores))]
                columns = [[seed] * len(ids), ids, ["test"] * len(ids), [300.0] * len(ids), *arrays]
                predictions.write_table(pa.table(columns, schema=schema))
            labels = np.take_along_axis(found, random.integers(0, 15, (len(ids), LABELS)), axis=1)
            named = [sorted({str(label) for label in own}) for own in labels]
            manifest.write_table(pa.table([ids, ["test"] * len(ids), named], schema=about))


def score(folder: Path, replicates: int) -> None:
    """The job that scores the experiment."""
    manifest, predictions = folder / "manifest.parquet", [folder / "predictions.parquet"]
    job = Score(
        family="multilabel", settings=Scorer(), manifest=manifest, predictions=predictions, replicates=replicates
    )
    job.run(*(folder / f"{name}.parquet" for name in FILES))


def cell(folder: Path) -> None:
    """What a table does for a cell."""
    files = ({"moe": folder / f"{name}.parquet"} for name in ("replicates", "counts", "manifest"))
    estimate, _ = Evidence(*files).measured(Side(Cell(experiment="moe", metric="gap")))
    if estimate is None:
        raise RuntimeError("no GAP was scored")


def measured(function: Callable[..., None], *arguments: Any) -> dict[str, float]:
    """CPU seconds and the peak of memory of a call in a process of its own, this one's imports included."""
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, function, *arguments).result()


def measure(function: Callable[..., None], *arguments: Any) -> dict[str, float]:
    """The same in this process."""
    start = time.process_time()
    function(*arguments)
    seconds = time.process_time() - start
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"seconds": seconds, "megabytes": int(peak.split()[1]) / 1e3}


def main(
    videos: Annotated[int, typer.Option(min=1, help="videos of the smallest size")] = 62_500,
    growth: Annotated[int, typer.Option(min=2, help="how many times more each next size has")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="how many sizes")] = 3,
    seeds: Annotated[int, typer.Option(min=1, help="seeds of the experiment")] = 1,
    replicates: Annotated[int, typer.Option(min=1, help="bootstrap resamples")] = 1000,
    classes: Annotated[int, typer.Option(min=100, help="classes")] = 3862,
    top: Annotated[int, typer.Option(min=20, help="predicted classes of a video")] = 100,
) -> None:
    """Measures each size."""
    for step in range(steps):
        count = videos * growth**step
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_files(folder, count, seeds, classes, top)
            scoring, table = measured(score, folder, replicates), measured(cell, folder)
            line = {
                "videos": count,
                "seeds": seeds,
                "scoring_seconds": scoring["seconds"],
                "seconds_a_million": scoring["seconds"] / count / seeds * 1e6,
                "scoring_megabytes": scoring["megabytes"],
                "cell_seconds": table["seconds"],
                "cell_megabytes": table["megabytes"],
                **{f"{name}_megabytes": (folder / f"{name}.parquet").stat().st_size / 1e6 for name in FILES[1:]},
            }
        typer.echo(json.dumps({name: round(value, 3) for name, value in line.items()}))


if __name__ == "__main__":
    run(lambda: typer.run(main))
