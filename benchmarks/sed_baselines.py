"""What scores mean: the spectral model of a finished run beside systems that know nothing.

    python -m benchmarks.sed_baselines [--scale mini] [--paper boes_avsed] [--experiment S] [--seeds 0,1]

Prints the test scores of: nothing detected; everything always on; the model trained on weak labels that were shuffled
among the clips; the model's predictions shuffled among the test clips; the model itself.
"""

import json
import random
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute
import typer

from workflow_scripts.corpora.annotate import MANIFEST
from workflow_scripts.errors import run
from workflow_scripts.parquet import read_parquet
from workflow_scripts.scores import plan as scores
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.scale import Scale
from workflow_scripts.shards import Row, read, write
from workflow_scripts.training import plan as training
from workflow_scripts.training.job import TrainingJob

ROOT = Path(__file__).parent.parent
OTHERS = ("history.parquet", "weights.safetensors", "params.json")


def shuffled_manifest(manifest: Path, output: Path) -> None:
    """The manifest with the labels of the weak clips dealt out anew."""
    rows = list(read(manifest))
    weak = [row for row in rows if row["split"] == "weak"]
    labels = [row["labels"] for row in weak]
    random.Random(0).shuffle(labels)  # noqa: S311 - no secret rests on it
    for row, dealt in zip(weak, labels, strict=True):
        row["labels"] = dealt
    write(output, rows, MANIFEST)


def train(job: TrainingJob, folder: Path) -> Path:
    """Trains on shuffled labels; returns the predictions."""
    shuffled_manifest(job.manifest, folder / "manifest.parquet")
    changes = {"manifest": folder / "manifest.parquet", "checkpoints": folder / "checkpoints"}
    outputs = [folder / name for name in ("predictions.parquet", *OTHERS)]
    job.model_copy(update=changes).run(*outputs)
    return outputs[0]


def replaced(table: pa.Table, clip: float, frames: float) -> pa.Table:
    """Predictions with the same probability everywhere."""
    width = {name: table.schema.field(name).type.byte_width for name in ("clip", "frames")}
    for name, value, dtype in (("clip", clip, np.float32), ("frames", frames, np.float16)):
        constant = np.full(width[name] // np.dtype(dtype).itemsize, value, dtype).tobytes()
        place = table.schema.get_field_index(name)
        table = table.set_column(
            place, table.schema.field(name), pa.array([constant] * len(table), pa.binary(width[name]))
        )
    return table


def main(
    scale: Annotated[str, typer.Option(help="Scale of the finished run.")] = "mini",
    paper: Annotated[str, typer.Option(help="Its paper.")] = "boes_avsed",
    experiment: Annotated[str, typer.Option(help="The model.")] = "S",
    seeds: Annotated[str, typer.Option(help="Seeds trained on shuffled labels.")] = "0,1",
) -> None:
    """Print test scores of baselines and of the model."""
    here = Scale(ROOT, Config(), scale)
    scorer = scores.scorer(here, paper, experiment)
    job = training.train(here, paper, experiment, next(iter(training.seed_groups(here, paper, experiment))))
    references: dict[str, Row] = {row["clip_id"]: row for row in read(job.manifest)}
    model = pa.concat_tables(map(read_parquet, training.outputs(here, paper, experiment, "predictions.parquet")))
    model = model.filter(pa.compute.equal(model["split"], "test"))

    def show(name: str, table: pa.Table, owners: list[str] | None = None) -> None:
        found = []
        for seed in sorted(set(table["seed"].to_pylist())):
            mine = table.filter(pa.compute.equal(table["seed"], seed))
            rows = [references[clip] for clip in (owners or mine["clip_id"].to_pylist())]
            records = scorer.records(mine, rows)
            found.append({k: float(v[0]) for k, v in scorer.aggregate(records, np.ones((1, len(rows)))).items()})
        print(name, json.dumps({key: round(float(np.mean([f[key] for f in found])), 3) for key in found[0]}))

    one = model.filter(pa.compute.equal(model["seed"], 0))
    show("nothing detected    ", replaced(one, 0, 0))
    show("everything always on", replaced(one, 1, 1))
    with tempfile.TemporaryDirectory() as folder:
        chosen = job.model_copy(update={"seeds": [int(seed) for seed in seeds.split(",")]})
        predictions = read_parquet(train(chosen, Path(folder)))
    show("shuffled weak labels", predictions.filter(pa.compute.equal(predictions["split"], "test")))
    owners = one["clip_id"].to_pylist()
    show("shuffled predictions", model, random.Random(0).sample(owners, len(owners)))  # noqa: S311 - as above
    show(f"{experiment:20s}", model)


if __name__ == "__main__":
    run(lambda: typer.run(main))
