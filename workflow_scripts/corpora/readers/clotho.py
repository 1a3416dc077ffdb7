"""Clotho v2.1: one CSV file of captions a split, five a recording; clips are whole files, `<split folder>/<file name>`.

File names are kept to the letter: some begin with a space or hold signs that other systems would change.
"""

import csv
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from workflow_scripts.corpora.readers.audio_folder import clip_id
from workflow_scripts.corpora.truth import of_clip, true_captions
from workflow_scripts.errors import UserError
from workflow_scripts.settings.base import Strict

log = logging.getLogger(__name__)

PARTS = {"development": "train", "validation": "validation", "evaluation": "test"}
CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))
METADATA = {part: f"{part}_metadata" for part in PARTS}
METADATA_ENCODING = "iso-8859-1"
TRUTH = "truth"  # only composed clips have it


class Reader(Strict):
    """Reads all recordings; where a split's metadata are given too, its file names are compared with theirs."""

    revision: ClassVar[int] = 2
    files: ClassVar[dict[str, str]] = {
        **{part: f"clotho_captions_{part}.csv" for part in PARTS},
        **{role: f"clotho_metadata_{part}.csv" for part, role in METADATA.items()},
        TRUTH: "truth.csv",
    }
    optional: ClassVar[frozenset[str]] = frozenset({*METADATA.values(), TRUTH})

    def read(self, files: dict[str, Path]) -> Iterator[dict[str, Any]]:
        """Yields one row a recording: clip_id, video_id (its path in the archive), start, end, split, labels, captions
        and, where the truth is given, temporal.

        Raises `UserError` when a file has another form, a name stands twice, or a split's two files have no name in
        common.
        """
        truth = true_captions(files.get(TRUTH))
        for part, split in PARTS.items():
            captions: dict[str, list[str]] = {}
            for line, row in rows(files[part], "utf-8", "file_name", *CAPTIONS):
                name, said = row["file_name"], [row[column] for column in CAPTIONS]
                if not name or name in captions or not all(caption.strip() for caption in said):
                    raise UserError(f"{files[part]}, line {line}: '{name}' stands twice, or lacks a name or a caption")
                captions[name] = said
            if METADATA[part] in files:
                compare(files[part], set(captions), files[METADATA[part]])
            for name, said in captions.items():
                path = f"{part}/{name}"
                clip = clip_id(path)
                yield {
                    "clip_id": clip,
                    "video_id": path,
                    "start": 0.0,
                    "end": None,
                    "split": split,
                    "labels": None,
                    "captions": said,
                    "temporal": of_clip(truth, clip, len(said)),
                }


def compare(path: Path, names: set[str], metadata: Path) -> None:
    """Raises `UserError` when a file of captions and one of metadata are of different recordings.

    Single names may differ, because the two files are in different encodings: these are logged.
    """
    described = {row["file_name"] for _, row in rows(metadata, METADATA_ENCODING, "file_name")}
    unknown = names - described
    if names and unknown == names:
        raise UserError(f"{metadata}: none of its files has captions in {path}; is it of another split?")
    if unknown:
        log.warning("%s: %d files are not in %s, '%s' for one", path, len(unknown), metadata, min(unknown))


def rows(path: Path, encoding: str, *columns: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The line numbers and rows of a file with at least the given columns."""
    with path.open(encoding=encoding, newline="") as file:
        reader = csv.DictReader(file, restval="")
        missing = set(columns) - set(reader.fieldnames or [])
        if missing:
            raise UserError(f"{path}: no column '{min(missing)}'; is it a file of Clotho?")
        for row in reader:
            yield reader.line_num, row
