"""What a reader of annotation files is.

A reader is one file in `readers/`, named as users write it, with one class `Reader` made from a base below: its fields
are the settings, and `read` turns a corpus's own annotation files into the rows of its manifest.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import ClassVar

import numpy as np

from workflow_scripts.errors import UserError, did_you_mean
from workflow_scripts.files import csv_columns, parted, proper_id, read_csv
from workflow_scripts.settings.base import Plugin
from workflow_scripts.shards import ClipError, Reason, Row, Status

# Words that nobody has said, for what is tried out without data.
INVENTED = [first + last for first in ("dog", "rain", "bell", "car") for last in ("s", "ing", "ly", "", "ed", "er")]


HELD_OUT = "held_out"  # the role of a file that any corpus may have: videos of the split `train` that validate instead


def numbers(count: int) -> list[str]:
    """Names for so many classes, where any will do."""
    return [str(number) for number in range(count)]


class Found(Row):
    """A row with the file and the line that name its clip."""

    def __init__(self, where: str, row: Row) -> None:
        super().__init__(row)
        self.where = where


class CorpusReader(Plugin, ABC):
    """Settings of a reader, the files that it needs, and the way from them to clips."""

    files: ClassVar[dict[str, str]]  # by role the name that a file has when the corpus is composed
    optional: ClassVar[frozenset[str]] = frozenset()  # roles of files that need not be there, or never are if composed
    fields: ClassVar[frozenset[str]] = frozenset()  # further texts of its rows, by which links and files may be named
    own_data: ClassVar[bool] = False  # whether it reads what people recorded themselves, which no paper had
    published_classes: ClassVar[dict[str, list[str]]] = {"class": numbers(10)}  # by what they tell of a clip

    @property
    def own_files(self) -> tuple[Path, ...]:
        """The annotation files that its settings name, not the corpus: the manifest is made anew when one changes."""
        return ()

    @property
    def has_folds(self) -> bool:
        """Whether its rows tell the `fold` that a clip is in, from 0."""
        return False

    @abstractmethod
    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        """Yields one row a clip, streamed, from the files by their roles; files of another form are a `UserError`.

        A row has `clip_id`, unique in the corpus and fit to be a file's name; `video_id`, which the corpus's `link` is
        made of; `start` and, unless the clip is all of its source, `end`, both seconds (`may_end_early` if the end is
        assumed, and the source may be over before); `split`; the reader's own `fields`. Where they are known:
        `labels` (texts), `events` (`onset` and `offset` in seconds from the clip's start, `label`), `captions`, and
        for each caption the true `temporal` caption or None. What is not known is left out or None. A row that is a
        `Found` tells where it stands, for messages.
        """

    @classmethod
    def invented(cls, split: str, place: int, random: np.random.Generator) -> Row:
        """Annotations as a clip of the published corpus has them, made up, to try out what reads them without data.

        `place` is the clip's number in the corpus. Here the labels have as many classes as the published ones.
        """
        labels = {head: classes[place % len(classes)] for head, classes in cls.published_classes.items()}
        return {"labels": [f"{head}:{label}" if len(labels) > 1 else label for head, label in labels.items()]}


class RecordReader(CorpusReader):
    """A reader of a corpus of record files: labels are class numbers as text, and a row's `link` is its record file.

    Rows of records that cannot be used have a `status`, a `reason` and a `detail`.
    """

    @abstractmethod
    def read(self, files: dict[str, Path], ledgers: Sequence[Path] = ()) -> Iterator[Row]:
        """As of other readers; `ledgers` name the record files that were fetched, by paths from their folder."""

    @abstractmethod
    def classes(self, files: dict[str, Path]) -> list[str]:
        """The names of the classes by their number; several may have the same name."""

    @abstractmethod
    def split(self, part: str, clip_id: str) -> str:
        """The split of a record, by its id and the part of the data set that its file belongs to."""

    @abstractmethod
    def shares(self, part: str) -> dict[str, float]:
        """The share of a part's records that each split has, about."""


def invented_caption(random: np.random.Generator) -> str:
    """Ten words, about as many as a caption of sound has."""
    return " ".join(random.choice(INVENTED, 10))


# What spreadsheets make of ids: rounded numbers, days, errors of formulas.
SPOILT = re.compile(
    r"\d+([.,]\d+)?E\+\d+|\d{1,2}[-./ ][A-Z][a-z]{2}([-./ ]\d{2,4})?|[A-Z][a-z]{2}[-./ ]\d{2,4}"
    r"|\d{1,2}[-./]\d{1,2}[-./](\d{2}|\d{4})|\d{4}[-./]\d{2}[-./]\d{2}|#[A-Z/0]+[!?]?"
)
LONGEST_SECONDS = 1e6  # eleven days: no video is so long


def unfit(labels: Sequence[int], classes: int) -> ClipError | None:
    """Why nothing can be learned from a record with these labels; None if it can."""
    if not labels:
        return ClipError(Status.FAILED, Reason.NO_LABEL, "the record has no label")
    if not all(0 <= label < classes for label in labels):
        told = f"it has the labels {list(labels)}, and the vocabulary {classes} classes"
        return ClipError(Status.FAILED, Reason.UNKNOWN_LABEL, told)
    return None


def table(
    path: Path,
    what: str,
    *columns: str,
    delimiter: str = ",",
    encoding: str = "utf-8",
    kept: Set[str] = frozenset(),
    ids: Set[str] = frozenset(),
) -> Iterator[tuple[int, dict[str, str]]]:
    """The line numbers and rows of a table with a header, `what` for people; missing cells are empty.

    Cells lose the blanks around them, but in the columns that are `kept` to the letter. A table that lacks one of
    `columns`, or has in one of the columns `ids` what no name can be, is a `UserError`.
    """
    found = csv_columns(path, encoding=encoding, delimiter=delimiter)
    if missing := set(columns) - set(found):
        hint = parted(found) or did_you_mean(min(missing), found) or "?"
        raise UserError(f"{path}: no column '{min(missing)}'; is it {what}{hint}")
    for line, row in read_csv(path, kept=kept, encoding=encoding, delimiter=delimiter):
        for name in ids:
            published_id(row[name], name, f"{path}, line {line}")
        yield line, row


def published_id(value: str, column: str, where: str) -> None:
    """A name that is none, or is no longer what was published, is a `UserError`; an empty one passes."""
    proper_id(value, column, where)
    if SPOILT.fullmatch(value):
        raise UserError(
            f"{where}: '{column}' is '{value}', which a spreadsheet has made of it; take the file as it was published"
        )


def seconds(text: str) -> float | None:
    """A time in a recording; None where the text is none."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) and 0 <= found <= LONGEST_SECONDS else None
