"""Sound event detection: clip tags, 1-second segments and events, from clip and frame probabilities.

Beside the scores of decisions at one threshold stand PSDS 1 and 2, which need none.
"""

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from pydantic import Field

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.metrics import psds, sed
from workflow_scripts.scores.interface import NO_ASSETS, Assets, MetricFamily
from workflow_scripts.shards import Row, stack

# Places in a record; after them the counts, the filtered frame probabilities and the true events.
CLASSES, FRAMES, FRAME_SECONDS, SECONDS, SEGMENT_ERRORS, HEAD = range(6)
KINDS = 3  # of counts: of clips, segments and events
NONE = -1  # the class of an event that is none


class Scorer(MetricFamily):
    """How probabilities become decisions, and decisions scores.

    A clip's record holds what its scores are made from; a clip without strong annotation has no `SECONDS` in it, and
    counts in the clip scores only.
    """

    threshold: float = Field(0.5, ge=0, le=1, description="a clip or frame is active above this probability")
    median_filter: int = Field(
        7, ge=1, le=100_000, description="frames of the median filter over each class's frame decisions"
    )
    segment_seconds: float = Field(1.0, gt=0, description="length of a segment in the segment-based scores")
    collar: float = Field(0.2, gt=0, description="seconds by which an onset or offset may be off")
    offset_share: float = Field(0.2, ge=0, le=1, description="share of an event's length that its offset may be off")
    classes: list[str] = Field(
        [], description="classes whose event scores are given one by one, as `event_f1:Dog`: all, in the outputs' order"
    )
    max_events: int = Field(128, ge=1, le=10_000, description="true events that a clip may have at most")

    @property
    def metrics(self) -> Sequence[str]:
        zero = np.zeros((1, 3), int)
        overall = sed.detection_scores(zero, zero, zero, np.zeros((), int))
        return *overall, *psds.SCENARIOS, *(f"event_{name}:{c}" for c in self.classes for name in sed.CLASS_SCORES)

    def records(self, predictions: pa.Table, references: Sequence[Row], assets: Assets = NO_ASSETS) -> np.ndarray:
        """What the scores of each clip are made from: (clips, values), see the places above.

        `predictions` has `clip`, `frames` and `seconds`, and the classes and frame length in its schema's metadata;
        `references` are the manifest rows of the same clips. A clip without strong annotation (`events` null) counts
        in the clip score only, by its `labels`. Raises when sed_eval itself comes to other segment or event scores.
        """
        metadata = predictions.schema.metadata
        classes: list[str] = json.loads(metadata[b"classes"])
        if self.classes and self.classes != classes:
            raise UserError(
                f"the predictions have the classes {', '.join(classes)}; 'classes' of the scoring has "
                f"{', '.join(self.classes)}"
            )
        shape = len(references), len(classes)
        strong = np.array([row["events"] is not None for row in references], bool)
        annotated = [row["events"] or [] for row in references]
        for row, events in zip(references, annotated, strict=True):
            for label in [*(event["label"] for event in events), *(row["labels"] or [])]:
                if label not in classes:
                    hint = did_you_mean(label, classes)
                    raise UserError(f"clip {row['clip_id']}: its label '{label}' is not a class of the system{hint}")
            if len(events) > self.max_events:
                raise UserError(
                    f"clip {row['clip_id']}: has {len(events)} events; raise 'max_events', which is {self.max_events}"
                )

        reference = sed.Events.of(annotated, classes)
        tags = reference.tags(*shape)
        for i in np.nonzero(~strong)[0].tolist():
            tags[i] = [label in (references[i]["labels"] or []) for label in classes]
        frames, seconds = stack(predictions, "frames"), predictions["seconds"].to_numpy()
        frame_seconds = float(metadata[b"frame_seconds"])
        estimate = sed.decide(frames, seconds, frame_seconds, self.threshold, self.median_filter)
        estimate = estimate.where(strong[estimate.clip])

        clip = sed.tag_counts(tags, stack(predictions, "clip") > self.threshold)
        segment, errors = sed.segment_counts(reference, estimate, *shape, self.segment_seconds)
        event = sed.event_counts(reference, estimate, *shape, self.collar, self.offset_share)
        counts = np.stack([clip, segment, event], axis=1)
        values = {name: float(value) for name, value in self.counted(counts.sum(axis=0), errors.sum()).items()}
        rules = self.segment_seconds, self.collar, self.offset_share
        sed.verify(values, sed.official(reference, estimate, len(references), classes, *rules))

        events = np.full((len(references), self.max_events, 3), float(NONE))
        for place, found in zip(events, annotated, strict=True):
            place[: len(found)] = [(classes.index(e["label"]), e["onset"], e["offset"]) for e in found] or 0
        head = np.zeros((len(references), HEAD))
        head[:, CLASSES], head[:, FRAMES], head[:, FRAME_SECONDS] = len(classes), frames.shape[1], frame_seconds
        head[:, SECONDS], head[:, SEGMENT_ERRORS] = np.where(strong, seconds, 0), errors
        filtered = sed.median_filtered(frames.astype(np.float32), self.median_filter)
        return np.concatenate([head, *(array.reshape(len(head), -1) for array in (counts, filtered, events))], axis=1)

    def counted(self, counts: np.ndarray, errors: np.ndarray) -> dict[str, np.ndarray]:
        """The scores of decisions, from summed counts (…, kinds, classes, 3) and errors in segments (…)."""
        clip, segment, event = np.moveaxis(counts, -3, 0)
        scores = sed.detection_scores(clip, segment, event, errors)
        for place, label in enumerate(self.classes):
            for name, score in sed.CLASS_SCORES.items():
                scores[f"event_{name}:{label}"] = score(event[..., place, :])
        return scores

    def aggregate(self, records: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
        classes = int(records[0, CLASSES])
        counts = records[:, HEAD : HEAD + KINDS * classes * 3]
        sums = (weights @ counts).reshape(len(weights), KINDS, classes, 3)
        strong = records[:, SECONDS] > 0
        by_thresholds = psds.psds([self.scored(record) for record in records[strong]], weights[:, strong])
        return self.counted(sums, weights @ records[:, SEGMENT_ERRORS]) | by_thresholds

    def scored(self, record: np.ndarray) -> psds.ScoredClip:
        """The frames of a clip up to its length, and its events."""
        classes, frames = int(record[CLASSES]), int(record[FRAMES])
        start = HEAD + KINDS * classes * 3
        scores, events = np.split(record[start:], [frames * classes])
        events = events.reshape(-1, 3)
        times = np.arange(frames + 1) * record[FRAME_SECONDS]
        inside = max(int((times[:-1] < record[SECONDS]).sum()), 1)
        times = np.minimum(times[: inside + 1], record[SECONDS])
        return psds.ScoredClip(
            times, scores.reshape(frames, classes)[:inside], record[SECONDS], events[events[:, 0] != NONE]
        )
