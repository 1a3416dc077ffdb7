"""YouTube-8M: the ids and labels of its video-level records.

The files of its test part hold no labels. A share of the validate files can stand in for them, and a share of the train
files be a development set; the ids decide which.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from workflow_scripts.corpora.interface import RecordReader
from workflow_scripts.errors import UserError
from workflow_scripts.formats.youtube8m import read_videos, split_of, vocabulary
from workflow_scripts.shards import Row, Status, read


class Reader(RecordReader):
    """Reads the records that the ledgers of a folder name, one in memory at a time."""

    files: ClassVar[dict[str, str]] = {
        "vocabulary": "vocabulary.csv",
        "titles": "text/video_titles_raw.json",
        "keywords": "text/combined_metadata.json",
    }
    optional = frozenset(f"{kind}{part}" for kind in ("titles", "keywords") for part in ("", "_dev", "_validation"))
    dev: float = Field(default=0, ge=0, lt=1, description="Share of the train files' videos that are `dev`")
    test: float = Field(default=0, ge=0, lt=1, description="Share of the validate files' videos that are `test`")

    def classes(self, files: dict[str, Path]) -> list[str]:
        return vocabulary(files["vocabulary"])

    def split(self, part: str, clip_id: str) -> str:
        return split_of(part, clip_id, self.dev, self.test)

    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        """The rows of videos, in the order of ledgers, files and records.

        A label that is not in the vocabulary, or no record file at all, is a `UserError`.
        """
        classes = len(self.classes(files))
        folder, found = files["records"], False
        for ledger in sorted((path for path in folder.glob("*.parquet") if path.stem.isdecimal()), key=number):
            for row in read(ledger, ["part", "name", "path", "status"]):
                if row["status"] != Status.OK:
                    continue
                found = True
                for video in read_videos(folder / row["path"]):
                    if not all(0 <= label < classes for label in video.labels):
                        raise UserError(
                            f"{folder / row['path']}: '{video.clip_id}' has the labels {video.labels}, and the "
                            f"vocabulary {classes} classes; take the vocabulary of the same edition"
                        )
                    yield {
                        "clip_id": video.clip_id,
                        "video_id": video.clip_id,
                        "start": 0.0,
                        "end": None,
                        "split": self.split(row["part"], video.clip_id),
                        "labels": [str(label) for label in video.labels],
                        "link": f"{row['part']}/{row['name']}",
                    }
        if not found:
            raise UserError(f"{folder}: no ledger names a record file that was fetched")


def number(ledger: Path) -> int:
    return int(ledger.stem)
