"""Annotations of DCASE 2018 task 4: weak, unlabelled in domain, and two strongly labelled sets.

Tab-separated files with a header. A file name is `Y` + the 11 characters of a YouTube id + `_start_end.wav`. The weak
file separates labels with commas (its readme shows semicolons). In the strong files a clip without events is a row
whose other fields are empty.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workflow_scripts.corpora.interface import CorpusReader, Found, seconds, table
from workflow_scripts.errors import UserError
from workflow_scripts.shards import Row

NAME = re.compile(r"Y(?P<video_id>[A-Za-z0-9_-]{11})_(?P<start>\d{1,6}\.\d+)_(?P<end>\d{1,6}\.\d+)\.wav")

# by split the folder in which the challenge's script leaves its sounds
PARTS = {"weak": "train/weak", "unlabelled": "train/unlabel_in_domain", "validation": "test", "test": "eval"}


class Reader(CorpusReader):
    """Reads the four files that the paper uses: its validation set is the challenge's test, its test set the eval."""

    files: ClassVar[dict[str, str]] = {
        "weak": "train/weak.csv",
        "unlabelled": "train/unlabel_in_domain.csv",
        "validation": "test/test.csv",
        "test": "eval/eval.csv",
    }
    fields = frozenset({"part"})
    published_classes: ClassVar[dict[str, list[str]]] = {
        "class": [
            *("Alarm_bell_ringing", "Blender", "Cat", "Dishes", "Dog"),
            *("Electric_shaver_toothbrush", "Frying", "Running_water", "Speech", "Vacuum_cleaner"),
        ]
    }

    @classmethod
    def invented(cls, split: str, place: int, random: np.random.Generator) -> Row:
        """One class of a clip that is labelled, with three events where they are known."""
        if split == "unlabelled":
            return {}
        known = super().invented(split, place, random)
        if split != "weak":
            (label,) = known["labels"]
            known["events"] = [{"onset": onset, "offset": onset + 1.5, "label": label} for onset in (0.5, 3.0, 6.0)]
        return known

    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        for where, row in rows(files["weak"], "event_labels"):
            labels = [label.strip() for label in row["event_labels"].split(",")]
            about = {"split": "weak", "part": PARTS["weak"], "labels": labels}
            yield Found(where, {**clip(row["filename"], where), **about})
        for where, row in rows(files["unlabelled"]):
            about = {"split": "unlabelled", "part": PARTS["unlabelled"]}
            yield Found(where, {**clip(row["filename"], where), **about})
        for split in ("validation", "test"):
            yield from strong(files[split], split)


def strong(path: Path, split: str) -> Iterator[Row]:
    """The clips of a strongly labelled file, in order of first mention."""
    clips: dict[str, Found] = {}
    events: dict[str, list[dict[str, Any]]] = {}
    for where, row in rows(path, "onset", "offset", "event_label"):
        name = row["filename"]
        if name not in clips:
            clips[name], events[name] = Found(where, clip(name, where)), []
        if row["event_label"]:
            onset, offset = seconds(row["onset"]), seconds(row["offset"])
            if onset is None or offset is None:
                raise UserError(f"{where}: '{row['onset']}' to '{row['offset']}' are no seconds of '{name}'")
            if onset >= offset:
                raise UserError(f"{where}: '{name}': an event from {onset} to {offset} s cannot be")
            events[name].append({"onset": onset, "offset": offset, "label": row["event_label"]})
    for name, found in events.items():
        labels = sorted({event["label"] for event in found})
        about = {"split": split, "part": PARTS[split], "labels": labels, "events": found}
        yield Found(clips[name].where, {**clips[name], **about})


def rows(path: Path, *columns: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a file with the given columns beside `filename`, and where they stand."""
    what = "a tab-separated file of DCASE 2018"
    found = table(path, what, "filename", *columns, delimiter="\t", ids={"filename"})
    return ((f"{path}, line {line}", row) for line, row in found)


def clip(name: str, where: str) -> Row:
    """What a file name says: clip id, video id, start and end in seconds."""
    match = NAME.fullmatch(name)
    if not match:
        raise UserError(f"{where}: '{name}' is not a DCASE 2018 file name: expected Y<video id>_<start>_<end>.wav")
    start, end = float(match["start"]), float(match["end"])
    if end <= start:
        raise UserError(f"{where}: '{name}': the clip ends before it starts")
    return {"clip_id": name.removesuffix(".wav"), "video_id": match["video_id"], "start": start, "end": end}
