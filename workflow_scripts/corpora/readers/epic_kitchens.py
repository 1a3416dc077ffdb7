"""EPIC-KITCHENS-100: narrated actions, each a verb and a noun, in long videos.

Its train part trains and its validation part tests: the labels of its test part are not public. Times are
hours:minutes:seconds from the video's start. An action is kept as it is when it is at most `longest` seconds; of a
longer one the middle is taken.
"""

import re
from collections.abc import Iterator, Set
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from workflow_scripts.corpora.interface import CorpusReader, Found, numbers, table
from workflow_scripts.errors import UserError
from workflow_scripts.shards import Row

COLUMNS = ("narration_id", "video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")
TIME = re.compile(r"(\d{1,3}):([0-5]\d):([0-5]\d(?:\.\d+)?)")
PARTS = {"train": "train", "validation": "test"}


class Reader(CorpusReader):
    """Reads the narrations of both parts; labels are `verb:<class id>` and `noun:<class id>` of the main noun."""

    files: ClassVar[dict[str, str]] = {
        "train": "EPIC_100_train.csv",
        "validation": "EPIC_100_validation.csv",
        "verbs": "EPIC_100_verb_classes.csv",
        "nouns": "EPIC_100_noun_classes.csv",
    }
    fields = frozenset({"participant"})  # such as P01
    published_classes: ClassVar[dict[str, list[str]]] = {"verb": numbers(97), "noun": numbers(293)}

    longest: float = Field(
        default=10.24, gt=0, description="Seconds; of a longer action the middle is taken (1,024 frames of 10 ms)"
    )

    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        """The rows of narrations; a class that is in no file of classes is a `UserError`."""
        verbs, nouns = class_ids(files["verbs"]), class_ids(files["nouns"])
        for part, split in PARTS.items():
            for line, row in rows(files[part], *COLUMNS, ids={"narration_id", "video_id"}):
                where = f"{files[part]}, line {line}"
                for kind, known in (("verb", verbs), ("noun", nouns)):
                    if row[f"{kind}_class"] not in known:
                        raise UserError(
                            f"{where}: '{row['narration_id']}' has the {kind} class '{row[f'{kind}_class']}', "
                            f"which is not in {files[f'{kind}s']}"
                        )
                clip = {
                    "clip_id": row["narration_id"],
                    "video_id": row["video_id"],
                    "participant": row["video_id"].partition("_")[0],
                    **section(where, row, self.longest),
                    "split": split,
                    "labels": [f"verb:{row['verb_class']}", f"noun:{row['noun_class']}"],
                }
                yield Found(where, clip)


def section(where: str, row: dict[str, str], longest: float) -> dict[str, float]:
    """Start and end of a narrated action in seconds: all of it, or the middle `longest` seconds."""
    start, end = (seconds(row[f"{bound}_timestamp"]) for bound in ("start", "stop"))
    if start is None or end is None or not start < end:
        raise UserError(
            f"{where}: '{row['narration_id']}' from '{row['start_timestamp']}' to '{row['stop_timestamp']}' is no "
            "section of a video; times are hours:minutes:seconds"
        )
    cut = max(0.0, end - start - longest) / 2
    return {"start": round(start + cut, 3), "end": round(end - cut, 3)}


def seconds(time: str) -> float | None:
    """Seconds of hours:minutes:seconds; None if it is something else."""
    match = TIME.fullmatch(time)
    return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3]) if match else None


def class_ids(path: Path) -> set[str]:
    """The ids in a file of verb or noun classes."""
    return {row["id"] for _, row in rows(path, "id", "key")}


def rows(path: Path, *columns: str, ids: Set[str] = frozenset()) -> Iterator[tuple[int, dict[str, str]]]:
    """The line numbers and rows of a file with at least the given columns."""
    return table(path, "a file of EPIC-KITCHENS-100", *columns, ids=ids)
