"""A folder of labelled recordings, `class/…/recording.ogg`: no annotation file is needed.

The first folder below it is the class, however deep a recording lies. A share of each class's recordings tests: those
whose paths have the smallest hashes, so that the same recordings test on every machine.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from workflow_scripts.corpora.interface import CorpusReader
from workflow_scripts.errors import UserError
from workflow_scripts.files import files_below
from workflow_scripts.shards import Row, shard_of

EXTENSIONS = frozenset({".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"})


class Reader(CorpusReader):
    """Finds the recordings; a file of another kind, or one that begins with a dot, is none. Links are followed."""

    files: ClassVar[dict[str, str]] = {}
    folder: Path = Field(
        description="The folder whose folders are the classes; the same as the corpus's `archive.folder`"
    )
    test: float = Field(
        default=0.25, gt=0, lt=1, description="Share of each class's recordings that test: at least one, never all"
    )

    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        """The rows of recordings, whose video_id is the path in the folder.

        Fewer than two classes, or a class with fewer than two recordings, are a `UserError`.
        """
        for label, paths in self.recordings().items():
            ordered = sorted(paths, key=lambda path: (shard_of(path, 1 << 62), path))
            held_out = min(len(paths) - 1, math.ceil(self.test * len(paths)))
            tested = set(ordered[:held_out])
            for path in sorted(paths):
                yield {
                    "clip_id": clip_id(path),
                    "video_id": path,
                    "start": 0.0,
                    "end": None,
                    "split": "test" if path in tested else "train",
                    "labels": [label],
                }

    def recordings(self) -> dict[str, list[str]]:
        """The paths of the recordings below the folder by class, with `/` between their parts."""
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: there is no such folder; give one with a folder of recordings per class")
        found: dict[str, list[str]] = defaultdict(list)
        for path in files_below(self.folder):
            parts = path.relative_to(self.folder).parts
            if path.suffix.lower() in EXTENSIONS and len(parts) > 1:
                found[parts[0]].append("/".join(parts))
        if not found:
            kinds = " ".join(sorted(EXTENSIONS))
            raise UserError(f"{self.folder}: no recordings in folders of classes; they end in {kinds}")
        if len(found) == 1:
            raise UserError(f"{self.folder}: '{next(iter(found))}' is the only class; at least two are needed")
        for label, paths in found.items():
            if len(paths) == 1:
                raise UserError(f"{self.folder}: the class '{label}' has one recording; one must train and one test")
        return dict(found)


def clip_id(path: str) -> str:
    """A name that can be a file's, for people to recognise, and unique by a hash of the path."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-")[-80:].strip("-")
    return f"{plain}-{shard_of(path, 1 << 40):010x}"
