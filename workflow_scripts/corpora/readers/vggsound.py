"""VGGSound: one file without a header, whose rows are a video id, the clip's first second, a label and a split."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from workflow_scripts.corpora.interface import CorpusReader, Found, numbers, published_id, seconds
from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.files import csv_rows, refuse_lines
from workflow_scripts.shards import Row

SPLITS = ("train", "test")


class Reader(CorpusReader):
    """Reads all clips; where the statistics of the classes are given too, their labels are checked with them."""

    files: ClassVar[dict[str, str]] = {"clips": "vggsound.csv", "classes": "stat.csv"}
    optional = frozenset({"classes"})
    published_classes: ClassVar[dict[str, list[str]]] = {"class": numbers(309)}

    clip_seconds: float = Field(
        default=10,
        gt=0,
        le=86_400,
        description="Length of a clip, unless its source ends before: the file only has its start",
    )

    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        """The rows of clips; a label that is no class is a `UserError`."""
        known = {row[0] for _, row in rows(files["classes"], "label,count,group")} if "classes" in files else None
        path = files["clips"]
        for line, (video_id, start, label, split) in rows(path, "id,start,label,split"):
            where = f"{path}, line {line}"
            published_id(video_id, "id", where)
            if not start.isdecimal() or seconds(start) is None or split not in SPLITS or not video_id:
                raise UserError(f"{where}: '{video_id},{start},…,{split}' is not id,start,label,train or test")
            if known is not None and label not in known:
                raise UserError(f"{where}: '{label}' is not in {files['classes']}{did_you_mean(label, known)}")
            row = {
                "clip_id": f"{video_id}_{int(start):06d}",
                "video_id": video_id,
                "start": float(start),
                "end": float(start) + self.clip_seconds,
                "may_end_early": True,
                "split": split,
                "labels": [label],
            }
            yield Found(where, row)


def rows(path: Path, columns: str) -> Iterator[tuple[int, list[str]]]:
    """The line numbers and cells of a file without a header; empty lines are left out."""
    for line, row in csv_rows(path, strip=True):
        if len(row) != columns.count(",") + 1:
            raise UserError(f"{path}, line {line}: {len(row)} cells instead of {columns}")
        for value, column in zip(row, columns.split(","), strict=True):
            refuse_lines(value, column, f"{path}, line {line}")
        yield line, row
