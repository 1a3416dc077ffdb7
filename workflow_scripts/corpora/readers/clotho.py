"""Clotho v2.1: one CSV file of captions a split, five a recording; clips are whole files, `<split folder>/<file name>`.

File names are kept to the letter: some begin with a space or hold signs that other systems would change.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from workflow_scripts.corpora.interface import CorpusReader, Found, invented_caption, table
from workflow_scripts.corpora.readers.audio_folder import clip_id
from workflow_scripts.corpora.truth import of_clip, true_captions
from workflow_scripts.errors import UserError
from workflow_scripts.files import proper_id
from workflow_scripts.shards import Row

log = logging.getLogger(__name__)

PARTS = {"development": "train", "validation": "validation", "evaluation": "test"}
CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))
METADATA = {part: f"{part}_metadata" for part in PARTS}
KIND = "a file of Clotho"
TRUTH = "truth"  # only composed clips have it


class Reader(CorpusReader):
    """Reads all recordings; where a split's metadata are given too, its file names are compared with theirs."""

    revision = 2
    files: ClassVar[dict[str, str]] = {
        **{part: f"clotho_captions_{part}.csv" for part in PARTS},
        **{role: f"clotho_metadata_{part}.csv" for part, role in METADATA.items()},
        TRUTH: "truth.csv",
    }
    optional = frozenset({*METADATA.values(), TRUTH})

    @classmethod
    def invented(cls, split: str, place: int, random: np.random.Generator) -> Row:
        """Five captions."""
        return {"captions": [invented_caption(random) for _ in CAPTIONS]}

    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        """The rows of recordings, whose video_id is the path in the archive.

        A name that stands twice, or two files of a split without a common name, are a `UserError`.
        """
        truth = true_captions(files.get(TRUTH))
        for part, split in PARTS.items():
            captions: dict[str, list[str]] = {}
            lines: dict[str, int] = {}
            for line, found in table(files[part], KIND, "file_name", *CAPTIONS, kept={"file_name", *CAPTIONS}):
                name, said = found["file_name"], [found[column] for column in CAPTIONS]
                proper_id(name, "file_name", f"{files[part]}, line {line}")
                if not name or name in captions or not all(caption.strip() for caption in said):
                    raise UserError(f"{files[part]}, line {line}: '{name}' stands twice, or lacks a name or a caption")
                captions[name], lines[name] = said, line
            if METADATA[part] in files:
                compare(files[part], set(captions), files[METADATA[part]])
            for name, said in captions.items():
                path = f"{part}/{name}"
                clip = clip_id(path)
                row = {
                    "clip_id": clip,
                    "video_id": path,
                    "start": 0.0,
                    "end": None,
                    "split": split,
                    "captions": said,
                    "temporal": of_clip(truth, clip, len(said)),
                }
                yield Found(f"{files[part]}, line {lines[name]}", row)


def compare(path: Path, names: set[str], metadata: Path) -> None:
    """Raises `UserError` when a file of captions and one of metadata are of different recordings.

    Single names may differ, because the two files are in different encodings: these are logged.
    """
    described = {
        row["file_name"] for _, row in table(metadata, KIND, "file_name", encoding="iso-8859-1", kept={"file_name"})
    }
    unknown = names - described
    if names and unknown == names:
        raise UserError(f"{metadata}: none of its files has captions in {path}; is it of another split?")
    if unknown:
        log.warning("%s: %d files are not in %s, '%s' for one", path, len(unknown), metadata, min(unknown))
