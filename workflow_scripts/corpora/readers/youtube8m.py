"""YouTube-8M: the ids and labels of its video-level records.

The files of its test part hold no labels. A share of the validate files can stand in for them, and a share of the train
files be a development set; the ids decide which.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from workflow_scripts.corpora.interface import RecordReader, numbers, unfit
from workflow_scripts.errors import UserError
from workflow_scripts.formats.youtube8m import SPLITS, decode_video, read, split_of, vocabulary
from workflow_scripts.shards import Reason, Row, Status
from workflow_scripts.shards import read as read_rows


class Reader(RecordReader):
    """Reads the records that ledgers name, one in memory at a time."""

    files: ClassVar[dict[str, str]] = {
        "vocabulary": "vocabulary.csv",
        "titles": "text/video_titles_raw.json",
        "keywords": "text/combined_metadata.json",
    }
    optional = frozenset(f"{kind}{part}" for kind in ("titles", "keywords") for part in ("", "_dev", "_validation"))
    published_classes: ClassVar[dict[str, list[str]]] = {"class": numbers(3862)}  # of the edition of 2018

    dev: float = Field(default=0, ge=0, lt=1, description="Share of the train files' videos that are `dev`")
    test: float = Field(default=0, ge=0, lt=1, description="Share of the validate files' videos that are `test`")

    @classmethod
    def invented(cls, split: str, place: int, random: np.random.Generator) -> Row:
        """Three labels, about as many as a published video has."""
        return {"labels": random.choice(cls.published_classes["class"], 3, replace=False).tolist()}

    def classes(self, files: dict[str, Path]) -> list[str]:
        return vocabulary(files["vocabulary"])

    def split(self, part: str, clip_id: str) -> str:
        return split_of(part, clip_id, self.dev, self.test)

    def shares(self, part: str) -> dict[str, float]:
        held_out, rest = SPLITS[part]
        share = self.dev if part == "train" else self.test
        return {held_out: share, rest: 1 - share}

    def read(self, files: dict[str, Path], ledgers: Sequence[Path] = ()) -> Iterator[Row]:
        """The rows of videos, in the order of ledgers, files and records.

        Labels that are not in the vocabulary, in more than one of a thousand records, or no record file at all, are a
        `UserError`.
        """
        classes, found, records, odd = len(self.classes(files)), False, 0, list[str]()
        for ledger in ledgers:
            for row in read_rows(ledger, ["part", "name", "path", "status"]):
                if row["status"] != Status.OK:
                    continue
                found, path = True, ledger.parent / row["path"]
                for _, video in read(path, decode_video):  # a faulty one fails later, alone
                    records, fault = records + 1, unfit(video.labels, classes)
                    if fault and fault.reason is Reason.UNKNOWN_LABEL:
                        odd.append(f"{path}: '{video.clip_id}' {fault.detail.removeprefix('it ')}")
                    state = {"status": fault.status, "reason": fault.reason, "detail": fault.detail} if fault else {}
                    yield state | {
                        "clip_id": video.clip_id,
                        "video_id": video.clip_id,
                        "start": 0.0,
                        "end": None,
                        "split": self.split(row["part"], video.clip_id),
                        "labels": [str(label) for label in video.labels],
                        "link": f"{row['part']}/{row['name']}",
                    }
        if len(odd) > max(1, records // 1000):
            raise UserError(f"{odd[0]}; take the vocabulary of the same edition")
        if not found:
            where = ledgers[0].parent if ledgers else "the corpus"
            raise UserError(f"{where}: no ledger names a record file that was fetched")
