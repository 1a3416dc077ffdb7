"""What figures are made from: the files that a training job wrote, the manifest and the features."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.shards import stack


@dataclass(frozen=True)
class Decisions:
    """Clips with their true class and the logits (clips, classes) that one model gives them."""

    clips: list[str]
    true: list[str]
    logits: np.ndarray
    classes: list[str]

    @property
    def predicted(self) -> list[str]:
        """The class with the highest logit of each clip."""
        return [self.classes[number] for number in self.logits.argmax(1)]


@dataclass(frozen=True)
class Material:
    """The files of one experiment or of several, and the seed that is shown."""

    seed: int
    history: Sequence[Path]
    predictions: Sequence[Path]
    manifest: Path | None
    features: Mapping[str, Sequence[Path]]
    scores: Mapping[str, Path] = field(default_factory=dict)  # folders of `scores.score` by label
    weights: Sequence[Path] = ()  # safetensors, named <seed>/<parameter>
    values: Mapping[str, Any] = field(default_factory=dict)  # what a reduction found
    shown: Mapping[str, Sequence[Path]] = field(default_factory=dict)  # predictions of experiments by label

    def recorded(self) -> pd.DataFrame:
        """What was recorded while the seed trained, one row for each step with anything to tell."""
        return self.rows_of_seed(self.history, "--history").to_pandas().sort_values("step", kind="stable")

    def decisions(self, split: str) -> Decisions:
        """The decisions on a split, by clip_id; a clip must have exactly one label, one of the model's classes."""
        table = self.rows_of_seed(self.predictions, "--predictions")
        table = table.filter(pc.field("split") == split).sort_by("clip_id")
        if not table.num_rows:
            raise UserError(f"{self.predictions[0]}: no clip of the split '{split}' is predicted by seed {self.seed}")
        clips, classes = table["clip_id"].to_pylist(), json.loads(table.schema.metadata[b"classes"])
        labels = self.labels()
        for clip in clips:
            if clip not in labels:
                raise UserError(f"{self.manifest}: has no clip {clip}, which the predictions name")
            if len(labels[clip] or []) != 1 or labels[clip][0] not in classes:
                raise UserError(f"{self.manifest}: clip {clip} needs one label of {', '.join(classes)}")
        return Decisions(clips, [labels[clip][0] for clip in clips], stack(table, "logits"), classes)

    def labels(self) -> dict[str, list[str]]:
        """The labels of every clip in the manifest."""
        if self.manifest is None:
            raise UserError("--manifest: this kind of figure needs it")
        table = read(self.manifest, columns=["clip_id", "labels"])
        return dict(zip(table["clip_id"].to_pylist(), table["labels"].to_pylist(), strict=True))

    def clips_of(self, split: str) -> list[dict[str, Any]]:
        """The manifest's rows of a split."""
        if self.manifest is None:
            raise UserError("--manifest: this kind of figure needs it")
        return read(self.manifest, filters=pc.field("split") == split).to_pylist()

    def signals(self, stream: str, clips: Sequence[str]) -> list[np.ndarray]:
        """The features (frames, dimensions) of some clips, in their order."""
        return self.of_clips(stream, clips, "features", stack)

    def lengths(self, stream: str, clips: Sequence[str]) -> list[float]:
        """How long some clips are that have features, in seconds, in their order."""
        return self.of_clips(stream, clips, "seconds", lambda table, name: table[name].to_pylist())

    def of_clips(
        self, stream: str, clips: Sequence[str], column: str, values: Callable[[pa.Table, str], Iterable[Any]]
    ) -> list[Any]:
        """A column of a stream, as `values` reads it from a table, of some clips that have features."""
        if stream not in self.features:
            raise UserError(f"--features: the stream '{stream}' is not given{did_you_mean(stream, self.features)}")
        found: dict[str, Any] = {}
        for path in self.features[stream]:
            wanted = (pc.field("clip_id").isin(list(clips))) & pc.field("features").is_valid()
            table = read(path, columns=["clip_id", column], filters=wanted)
            if table.num_rows:
                found |= zip(table["clip_id"].to_pylist(), values(table, column), strict=True)
        for clip in clips:
            if clip not in found:
                raise UserError(f"{self.features[stream][0].parent}: no features of clip {clip}; make them again")
        return [found[clip] for clip in clips]

    def captions(self, split: str) -> dict[str, dict[str, str]]:
        """The captions that each shown experiment gives to the clips of a split: by label, then by clip."""
        said: dict[str, dict[str, str]] = {}
        for label, paths in self.shown.items():
            table = self.rows_of_seed(paths, "--shown")
            if "caption" not in table.column_names:
                raise UserError(f"{paths[0]}: has no column 'caption'; show experiments that write captions")
            table = table.filter(pc.field("split") == split)
            said[label] = dict(zip(table["clip_id"].to_pylist(), table["caption"].to_pylist(), strict=True))
        if not said:
            raise UserError("--shown: this kind of figure needs it")
        return said

    def rows_of_seed(self, paths: Sequence[Path], option: str) -> pa.Table:
        """The rows of the shown seed in some files of a training job."""
        if not paths:
            raise UserError(f"{option}: this kind of figure needs it")
        table = pa.concat_tables([read(path, filters=pc.field("seed") == self.seed) for path in paths])
        if not table.num_rows:
            raise UserError(f"{paths[0]}: holds nothing of seed {self.seed}")
        return table


def read(path: Path, columns: list[str] | None = None, filters: pc.Expression | None = None) -> pa.Table:
    """A Parquet file, or some of it."""
    try:
        return pq.read_table(path, columns=columns, filters=filters)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{path}: not a readable Parquet file with {columns or 'its columns'} ({error})") from None
