"""What a reader of annotation files is.

A reader is one file in `readers/`, named as users write it, with one class `Reader` made from a base below: its fields
are the settings, and `read` turns a corpus's own annotation files into the rows of its manifest.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import ClassVar

from workflow_scripts.errors import UserError
from workflow_scripts.files import csv_columns, read_csv
from workflow_scripts.settings.base import Plugin
from workflow_scripts.shards import ClipError, Reason, Row, Status


class CorpusReader(Plugin, ABC):
    """Settings of a reader, the files that it needs, and the way from them to clips."""

    files: ClassVar[dict[str, str]]  # by role the name that a file has when the corpus is composed
    optional: ClassVar[frozenset[str]] = frozenset()  # roles of files that need not be there, or never are if composed
    fields: ClassVar[frozenset[str]] = frozenset()  # further texts of its rows, by which links and files may be named

    @abstractmethod
    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        """Yields one row a clip, streamed, from the files by their roles; files of another form are a `UserError`.

        A row has `clip_id`, unique in the corpus and fit to be a file's name; `video_id`, which the corpus's `link` is
        made of; `start` and, unless the clip is all of its source, `end`, both seconds (`may_end_early` if the end is
        assumed, and the source may be over before); `split`; the reader's own `fields`. Where they are known:
        `labels` (texts), `events` (`onset` and `offset` in seconds from the clip's start, `label`), `captions`, and
        for each caption the true `temporal` caption or None. What is not known is left out or None.
        """


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


def unfit(labels: Sequence[int], classes: int) -> ClipError | None:
    """Why nothing can be learned from a record with these labels; None if it can."""
    if not labels:
        return ClipError(Status.FAILED, Reason.NO_LABEL, "the record has no label")
    if not all(0 <= label < classes for label in labels):
        told = f"it has the labels {list(labels)}, and the vocabulary {classes} classes"
        return ClipError(Status.FAILED, Reason.UNKNOWN_LABEL, told)
    return None


def table(
    path: Path, what: str, *columns: str, delimiter: str = ",", encoding: str = "utf-8", kept: Set[str] = frozenset()
) -> Iterator[tuple[int, dict[str, str]]]:
    """The line numbers and rows of a table with a header, `what` for people; missing cells are empty.

    Cells lose the blanks around them, but in the columns that are `kept` to the letter. A table that lacks one of
    `columns` is a `UserError`.
    """
    if missing := set(columns) - set(csv_columns(path, encoding=encoding, delimiter=delimiter)):
        raise UserError(f"{path}: no column '{min(missing)}'; is it {what}?")
    yield from read_csv(path, kept=kept, encoding=encoding, delimiter=delimiter)
