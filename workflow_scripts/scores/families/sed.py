"""Sound event detection: clip tags, 1-second segments and events, from clip and frame probabilities."""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pydantic import Field

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.metrics import sed
from workflow_scripts.scores.interface import NO_ASSETS, Assets, SummedFamily
from workflow_scripts.shards import Row, stack


class Scorer(SummedFamily):
    """How probabilities become decisions, and decisions scores."""

    threshold: float = Field(0.5, ge=0, le=1, description="a clip or frame is active above this probability")
    median_filter: int = Field(
        7, ge=1, le=100_000, description="frames of the median filter over each class's frame decisions"
    )
    segment_seconds: float = Field(1.0, gt=0, description="length of a segment in the segment-based scores")
    collar: float = Field(0.2, gt=0, description="seconds by which an onset or offset may be off")
    offset_share: float = Field(0.2, ge=0, le=1, description="share of an event's length that its offset may be off")

    @property
    def metrics(self) -> Sequence[str]:
        return "clip_micro_f1", "segment_micro_f1", "event_macro_f1", "event_macro_f1_observed", "event_micro_f1"

    def records(self, predictions: pa.Table, references: Sequence[Row], assets: Assets = NO_ASSETS) -> np.ndarray:
        """Counts of one system, clip axis first: (clips, 3: clip, segment and event, classes, 3: TP, FP and FN).

        `predictions` has `clip`, `frames` and `seconds`, and the classes and frame length in its schema's metadata;
        `references` are the manifest rows of the same clips. A clip without strong annotation (`events` null) counts
        in the clip score only, by its `labels`. Raises when sed_eval itself comes to other segment or event scores.
        """
        metadata = predictions.schema.metadata
        classes: list[str] = json.loads(metadata[b"classes"])
        shape = len(references), len(classes)
        strong = np.array([row["events"] is not None for row in references], bool)
        annotated = [row["events"] or [] for row in references]
        for row, events in zip(references, annotated, strict=True):
            for label in [*(event["label"] for event in events), *(row["labels"] or [])]:
                if label not in classes:
                    hint = did_you_mean(label, classes)
                    raise UserError(f"clip {row['clip_id']}: its label '{label}' is not a class of the system{hint}")

        reference = sed.Events.of(annotated, classes)
        tags = reference.tags(*shape)
        for i in np.nonzero(~strong)[0].tolist():
            tags[i] = [label in (references[i]["labels"] or []) for label in classes]
        frames, seconds = stack(predictions, "frames"), predictions["seconds"].to_numpy()
        estimate = sed.decide(frames, seconds, float(metadata[b"frame_seconds"]), self.threshold, self.median_filter)
        estimate = estimate.where(strong[estimate.clip])

        clip = sed.tag_counts(tags, stack(predictions, "clip") > self.threshold)
        segment = sed.segment_counts(reference, estimate, *shape, self.segment_seconds)
        event = sed.event_counts(reference, estimate, *shape, self.collar, self.offset_share)
        records = np.stack([clip, segment, event], axis=1).astype(np.int32)
        totals = self.aggregate(records, np.ones((1, len(records))))
        values = {name: float(value[0]) for name, value in totals.items()}
        rules = self.segment_seconds, self.collar, self.offset_share
        sed.verify(values, sed.official(reference, estimate, len(references), classes, *rules))
        return records

    def scores(self, sums: np.ndarray, clips: np.ndarray) -> dict[str, np.ndarray]:
        return sed.detection_scores(sums[:, 0], sums[:, 1], sums[:, 2])
