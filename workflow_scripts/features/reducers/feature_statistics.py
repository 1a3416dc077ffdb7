"""Mean and standard deviation of all values of a feature over one split, to normalise a network's input with."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from workflow_scripts.errors import UserError
from workflow_scripts.features.interface import FeatureReducer
from workflow_scripts.parquet import open_parquet, read_parquet
from workflow_scripts.progress import progress
from workflow_scripts.shards import atomic, stack


class Reducer(FeatureReducer):
    """One mean and one standard deviation for all frames, bins and clips, padding included.

    As for the Audio Spectrogram Transformer (Gong et al. 2021, section 2.1), whose input is padded before it is
    normalised; there the deviation is a mean over batches, here that of all values.
    """

    suffix = ".json"
    split: str = Field(default="train", description="Split whose clips are counted")

    def reduce(self, shards: list[Path], manifest: Path, assets: dict[str, Path], output: Path) -> None:
        """Streams the shards once; a split without any feature is a `UserError`."""
        chosen = self.clips(manifest)
        count, mean, squares = 0, 0.0, 0.0  # squares: summed deviations from the mean
        for values in batches(shards, chosen):
            # Merging means and deviations loses no digits, as sums of squares would.
            own = float(values.mean())
            step, total = own - mean, count + values.size
            squares += float(np.square(values - own).sum()) + step**2 * count * values.size / total
            mean += step * values.size / total
            count = total
        if not count:
            raise UserError(f"{output}: no clip of the split '{self.split}' has features")
        with atomic(output) as temporary:
            temporary.write_text(json.dumps({"mean": mean, "std": math.sqrt(squares / count)}) + "\n", encoding="utf-8")

    def clips(self, manifest: Path) -> pa.Array:
        """The ids of the split's clips."""
        try:
            table = read_parquet(manifest, ["clip_id"], pc.field("split") == self.split)
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(f"{manifest}: not a readable manifest ({error})") from None
        return table["clip_id"].combine_chunks()


def batches(shards: list[Path], chosen: pa.Array) -> Iterator[np.ndarray]:
    """The features of the chosen clips that have any, float64, a few clips at a time."""
    for shard in progress(shards, "shards", len(shards), "shard"):
        with open_parquet(shard) as file:
            if "features" not in file.schema_arrow.names:
                raise UserError(f"{shard}: has no column 'features'; give the shards of a feature")
            for batch in file.iter_batches(batch_size=64, columns=["clip_id", "features"]):
                kept = batch.filter(pc.and_(pc.is_in(batch["clip_id"], chosen), pc.is_valid(batch["features"])))
                if kept.num_rows:
                    yield stack(pa.Table.from_batches([kept]), "features").astype(np.float64)
