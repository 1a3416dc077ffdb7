"""What people are told: captions, events, tags and classes, from the rows of predictions."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from workflow_scripts import shards
from workflow_scripts.metrics import sed
from workflow_scripts.predict.clips import Part
from workflow_scripts.shards import Row

Form = Literal["tsv", "csv", "json"]
EVENT = ("filename", "onset", "offset", "event_label")  # DCASE's columns


def answers(
    schema: pa.Schema, found: Iterable[tuple[Part, Row]], top: int | None, threshold: float, median_filter: int
) -> Iterator[Row]:
    """Lines of one kind, by the columns of the predictions' schema.

    `top`: how many of the likeliest classes are named; null: one, of tags five. Events are decided as the scores of
    sound event detection do.
    """
    metadata = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    if "caption" in schema.names:
        return ({**about(part), "caption": row["caption"]} for part, row in found)
    classes: list[str] = json.loads(metadata.get("classes", "[]"))
    if "frames" in schema.names:
        step = float(metadata["frame_seconds"])
        return events(schema, found, classes, step, threshold, median_filter)
    if "scores" in schema.names:
        return (line for part, row in found for line in tags(schema, part, row, classes, top or 5))
    heads: dict[str, list[str]] = json.loads(metadata.get("heads", "null")) or {"class": classes}
    return (line for part, row in found for line in likeliest(schema, part, row, heads, top or 1))


def about(part: Part) -> Row:
    """What a line is of; what has no time is of a whole file."""
    return {"filename": part.file} | ({"onset": round(part.start, 3), "offset": round(part.end, 3)} if part.end else {})


def array(schema: pa.Schema, row: Row, name: str) -> np.ndarray:
    """An array of a row."""
    dtype, shape = shards.array_spec(schema.field(name))
    return np.frombuffer(row[name], dtype).reshape(shape)


def events(
    schema: pa.Schema,
    found: Iterable[tuple[Part, Row]],
    classes: list[str],
    frame_seconds: float,
    threshold: float,
    median_filter: int,
) -> Iterator[Row]:
    """The events of each file by onset; a file without any has a line without times.

    Those that end with a window of a long recording, and go on in the next one, are one event.
    """
    for name, own in groupby(found, lambda item: item[0].file):
        running: dict[int, list[float]] = {}  # by class its last event, which may go on
        done: list[tuple[float, float, int]] = []
        for part, row in own:
            frames = array(schema, row, "frames")[None]
            seconds = np.array([row.get("seconds", part.end - part.start)])  # of sound, as the scores have it
            decided = sed.decide(frames, seconds, frame_seconds, threshold, median_filter)
            for label, onset, offset in zip(decided.label, decided.onset, decided.offset, strict=True):
                start, end = part.start + float(onset), part.start + float(offset)
                last = running.get(int(label))
                if last and part.start and onset < frame_seconds and part.start - last[1] < frame_seconds:
                    last[1] = end
                    continue
                if last:
                    done.append((last[0], last[1], int(label)))
                running[int(label)] = [start, end]
        done += [(start, end, label) for label, (start, end) in running.items()]
        for start, end, label in sorted(done):
            yield {"filename": name, "onset": round(start, 3), "offset": round(end, 3), "event_label": classes[label]}
        if not done:
            yield {"filename": name} | dict.fromkeys(EVENT[1:])


def tags(schema: pa.Schema, part: Part, row: Row, classes: list[str], top: int) -> Iterator[Row]:
    """The likeliest labels of a video."""
    numbers, scores = (array(schema, row, name)[:top] for name in ("classes", "scores"))
    for number, score in zip(numbers, scores, strict=True):
        yield about(part) | {"label": classes[number], "probability": round(float(score), 6)}


def likeliest(schema: pa.Schema, part: Part, row: Row, heads: Mapping[str, list[str]], top: int) -> Iterator[Row]:
    """The likeliest classes of a clip, under each head."""
    for head, classes in heads.items():
        name = f"logits_{head}" if f"logits_{head}" in schema.names else "logits"
        logits = array(schema, row, name).astype(np.float64)
        probabilities = np.exp(logits - logits.max())
        probabilities /= probabilities.sum()
        for number in np.argsort(-probabilities, kind="stable")[:top]:
            of = {"head": head} if len(heads) > 1 else {}
            own = {"label": classes[number], "probability": round(float(probabilities[number]), 6)}
            yield about(part) | of | own


def written(lines: Iterable[Row], form: Form) -> str:
    """Lines as text: a table with tabs or commas, or a JSON list."""
    found: list[dict[str, Any]] = list(lines)
    if form == "json":
        return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    text = io.StringIO()
    how: dict[str, Any] = {"delimiter": "\t" if form == "tsv" else ",", "lineterminator": "\n"}
    writer = csv.DictWriter(text, list(found[0]) if found else ["filename"], **how)
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()
