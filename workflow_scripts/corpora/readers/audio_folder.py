"""A folder of labelled recordings, `class/…/recording.ogg`: no annotation file is needed.

The first folder below it is the class, however deep a recording lies. Who tests is drawn by hashes of paths, so that it
is the same on every machine, or told by the paths themselves. Files that are pieces of one recording stay together.
"""

import fnmatch
import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from workflow_scripts.corpora import sides
from workflow_scripts.corpora.interface import CorpusReader
from workflow_scripts.errors import UserError
from workflow_scripts.files import files_below
from workflow_scripts.shards import Row, shard_of

log = logging.getLogger(__name__)

EXTENSIONS = frozenset({".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"})
# What is before the mark of a piece: ESC-50's 1-30226-A-0, UrbanSound8K's 100032-3-0-0, x_30.000_40.000, x part 2.
PIECES = (
    r"^(?:.*/)?\d-(\d+)-[A-Z]-\d+\.\w+$|^(?:.*/)?(\d+)-\d+-\d+-\d+\.\w+$|^(.+?)_\d+\.\d+_\d+\.\d+\.\w+$"
    r"|^(.+?)[-_ ](?:part|piece|segment|chunk|slice)[-_ ]?\d+\.\w+$"
)


def expression(text: str) -> str:
    """A regular expression; what is none is a `ValueError`."""
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    return text


Expression = Annotated[str, AfterValidator(expression)]


class Reader(CorpusReader):
    """Finds the recordings; a file of another kind, or one that begins with a dot, is none. Links are followed."""

    files: ClassVar[dict[str, str]] = {}
    own_data: ClassVar[bool] = True
    folder: Path = Field(
        description="The folder whose folders are the classes; the same as the corpus's `archive.folder`"
    )
    test: Annotated[float, Field(gt=0, lt=1)] | list[str] = Field(
        default=0.25,
        description="Share of each class's recordings that test, at least one, never all; or patterns of the paths of "
        "those that do, such as `*/session 3/*`",
    )
    folds: Annotated[int, Field(ge=2)] | Expression | None = Field(
        default=None,
        description="For `cross_validation`, in the place of `test`: into how many folds the recordings are divided, "
        "or a regular expression that finds the fold's name in a path, such as `/(\\d)-` in ESC-50's; null: none",
    )
    recording: Expression | None = Field(
        default=PIECES,
        description="Regular expression that finds in a path the name of the recording of which a file is a piece, in "
        "its first group that is there; pieces of one never stand on both sides, and a file in which it finds nothing "
        "is a recording of its own, as all are with null. The default knows the names of ESC-50 (`1-30226-A-0`) and "
        "UrbanSound8K (`100032-3-0-0`), times (`x_30.000_40.000`) and words (`x part 2`, `x_segment_2`)",
    )

    @property
    def has_folds(self) -> bool:
        return self.folds is not None

    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        """The rows of files, whose video_id is the path in the folder; with `folds` all of them test, each in its fold.

        Fewer than two classes, a class without files on both sides, pieces on both sides, are a `UserError`.
        """
        classes = self.recordings()
        wholes = {path: self.whole(path) for paths in classes.values() for path in paths}
        placed = self.in_folds(classes, wholes) if self.has_folds else self.in_splits(classes, wholes)
        sides.check(classes, wholes, placed, str(self.folder))
        if doubtful := list(sides.alike(placed)):
            one, other = doubtful[0]
            log.warning(
                "%s: %d files are named like ones on another side, such as '%s' and '%s': if they are pieces of one "
                "recording, let `recording` find its name", self.folder, len(doubtful), other, one,
            )  # fmt: skip
        for label, paths in classes.items():
            for path in sorted(paths):
                where = {"split": sides.TEST, "fold": placed[path]} if self.has_folds else {"split": placed[path]}
                yield {
                    "clip_id": clip_id(path),
                    "video_id": path,
                    "start": 0.0,
                    "end": None,
                    **where,
                    "labels": [label],
                }

    def whole(self, path: str) -> str:
        """The recording that a file is a piece of."""
        found = re.search(self.recording, path) if self.recording is not None else None
        return path if found is None else next((group for group in found.groups() if group), found[0])

    def in_splits(self, classes: sides.Classes, wholes: dict[str, str]) -> sides.Sides:
        """The split of each file."""
        if isinstance(self.test, float):
            return sides.tested(classes, wholes, self.test)
        found = dict.fromkeys(wholes, sides.TRAIN)
        for pattern in self.test:
            chosen = fnmatch.filter(wholes, pattern)
            if not chosen:
                raise UserError(f"{self.folder}: reading.test: no recording's path is like '{pattern}'; correct it")
            found |= dict.fromkeys(chosen, sides.TEST)
        return found

    def in_folds(self, classes: sides.Classes, wholes: dict[str, str]) -> sides.Sides:
        """The fold of each file, from 0."""
        if isinstance(self.folds, int):
            return sides.dealt(classes, wholes, self.folds)
        names = {path: re.search(str(self.folds), path) for path in wholes}
        if lost := [path for path, found in names.items() if found is None]:
            raise UserError(f"{self.folder}: reading.folds: '{self.folds}' finds no fold in '{lost[0]}'; correct it")
        folds = {path: found[1] if found.re.groups else found[0] for path, found in names.items() if found}
        order = sorted(set(folds.values()))
        return {path: order.index(fold) for path, fold in folds.items()}

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
        return dict(found)


def clip_id(path: str) -> str:
    """A name that can be a file's, for people to recognise, and unique by a hash of the path."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-")[-80:].strip("-")
    return f"{plain}-{shard_of(path, 1 << 40):010x}"
