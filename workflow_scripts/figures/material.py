"""What figures are made from: the files that a training job wrote, the manifest and the features."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.files import need
from workflow_scripts.parquet import parquet_schema, read_parquet
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
    history: Path | None = None
    predictions: Path | None = None
    weights: Path | None = None  # safetensors, named <seed>/<parameter>
    manifest: Path | None = None
    features: Mapping[str, Sequence[Path]] = field(default_factory=dict)  # shards by stream
    scores: Mapping[str, Path] = field(default_factory=dict)  # `counts.parquet` of experiments by label
    shown: Mapping[str, Path] = field(default_factory=dict)  # predictions of experiments by label
    values: Mapping[str, Any] = field(default_factory=dict)  # what a reduction found

    def file(self, name: Literal["history", "predictions", "weights", "manifest"]) -> Path:
        """A file that the kind of figure needs."""
        found: Path | None = getattr(self, name)
        if found is None:
            raise UserError(f"this kind of figure needs the {name} of an experiment")
        return found

    def recorded(self) -> pd.DataFrame:
        """What was recorded while the seed trained, one row for each step with anything to tell."""
        return self.rows_of_seed(self.file("history")).to_pandas().sort_values("step", kind="stable")

    def decisions(self, split: str) -> Decisions:
        """The decisions on a split, by clip_id; a clip must have exactly one label, one of the model's classes."""
        table = self.rows_of_seed(self.file("predictions"))
        table = table.filter(pc.field("split") == split).sort_by("clip_id")
        if not table.num_rows:
            raise UserError(f"{self.predictions}: no clip of the split '{split}' is predicted by seed {self.seed}")
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
        table = read_parquet(self.file("manifest"), ["clip_id", "labels"])
        return dict(zip(table["clip_id"].to_pylist(), table["labels"].to_pylist(), strict=True))

    def clips_of(self, split: str) -> list[dict[str, Any]]:
        """The manifest's rows of a split."""
        return read_parquet(self.file("manifest"), filters=pc.field("split") == split).to_pylist()

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
            raise UserError(f"features: the stream '{stream}' is not given{did_you_mean(stream, self.features)}")
        found: dict[str, Any] = {}
        for path in self.features[stream]:
            wanted = (pc.field("clip_id").isin(list(clips))) & pc.field("features").is_valid()
            table = read_parquet(path, ["clip_id", column], wanted)
            if table.num_rows:
                found |= zip(table["clip_id"].to_pylist(), values(table, column), strict=True)
        for clip in clips:
            if clip not in found:
                raise UserError(f"{self.features[stream][0].parent}: no features of clip {clip}; make them again")
        return [found[clip] for clip in clips]

    def captions(self, split: str) -> dict[str, dict[str, str]]:
        """The captions that each shown experiment gives to the clips of a split: by label, then by clip."""
        said: dict[str, dict[str, str]] = {}
        for label, path in self.shown.items():
            table = self.rows_of_seed(path)
            if "caption" not in table.column_names:
                raise UserError(f"{path}: has no column 'caption'; show experiments that write captions")
            table = table.filter(pc.field("split") == split)
            said[label] = dict(zip(table["clip_id"].to_pylist(), table["caption"].to_pylist(), strict=True))
        if not said:
            raise UserError("shown: this kind of figure needs the captions of an experiment")
        return said

    def rows_of_seed(self, path: Path) -> pa.Table:
        """The rows of the shown seed in a file of a training job."""
        need(path, ["seed"], parquet_schema(path).names)
        table = read_parquet(path, filters=pc.field("seed") == self.seed)
        if not table.num_rows:
            raise UserError(f"{path}: holds nothing of seed {self.seed}")
        return table
