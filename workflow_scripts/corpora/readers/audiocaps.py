"""AudioCaps, 1 and 2.0: one CSV file a split, one row a caption, whose clip is a section of a YouTube video.

A clip of the train split has one caption, in 2.0 perhaps more; in the other two its five are rows anywhere in the file.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from workflow_scripts.corpora.interface import CorpusReader, Found, invented_caption, seconds, table
from workflow_scripts.corpora.truth import of_clip, true_captions
from workflow_scripts.errors import UserError
from workflow_scripts.shards import Row

COLUMNS = ("audiocap_id", "youtube_id", "start_time", "caption")
PARTS = {"train": "train", "val": "validation", "test": "test"}
TRUTH = "truth"  # only composed clips have it


class Reader(CorpusReader):
    """Gathers the captions of each clip, in the order of the file."""

    revision = 2
    files: ClassVar[dict[str, str]] = {**{part: f"{part}.csv" for part in PARTS}, TRUTH: "truth.csv"}
    optional = frozenset({TRUTH})
    fields = frozenset({"part", "audiocap_id"})  # train, val or test; the number of the clip's first caption

    clip_seconds: float = Field(
        default=10,
        gt=0,
        le=86_400,
        description="Length of a clip, unless its source ends before: the files only have its start",
    )

    @classmethod
    def invented(cls, split: str, place: int, random: np.random.Generator) -> Row:
        """One caption of a clip that is learned from, five of others."""
        return {"captions": [invented_caption(random) for _ in range(1 if split == "train" else 5)]}

    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        truth = true_captions(files.get(TRUTH))
        for part, split in PARTS.items():
            clips = gathered(files[part])
            first = firsts(files[part])
            for (video_id, start), captions in clips.items():
                line, number = first[video_id, start]
                clip = clip_id(video_id, start)
                row = {
                    "clip_id": clip,
                    "video_id": video_id,
                    "start": float(start),
                    "end": start + self.clip_seconds,
                    "may_end_early": True,
                    "audiocap_id": number,
                    "part": part,
                    "split": split,
                    "captions": captions,
                    "temporal": of_clip(truth, clip, len(captions)),
                }
                yield Found(f"{files[part]}, line {line}", row)


def gathered(path: Path) -> dict[tuple[str, int], list[str]]:
    """The captions of every clip, which is a video's id and the second at which it starts."""
    found: dict[tuple[str, int], list[str]] = {}
    for line, row in table(path, "a file of AudioCaps", *COLUMNS, kept={"caption"}, ids={"youtube_id"}):
        video_id, start, caption = row["youtube_id"], row["start_time"], row["caption"]
        if not (video_id and start.isdecimal() and seconds(start) is not None and caption.strip()):
            raise UserError(
                f"{path}, line {line}: '{video_id},{start},{caption}' is not a video id, a start in whole seconds and "
                "a caption"
            )
        found.setdefault((video_id, int(start)), []).append(caption)
    return found


def firsts(path: Path) -> dict[tuple[str, int], tuple[int, str]]:
    """The line of every clip's first caption, and its number, by which some tools name the clip's file."""
    found: dict[tuple[str, int], tuple[int, str]] = {}
    for line, row in table(path, "a file of AudioCaps", *COLUMNS, kept={"caption"}):
        found.setdefault((row["youtube_id"], int(row["start_time"])), (line, row["audiocap_id"]))
    return found


def clip_id(video_id: str, start: int) -> str:
    """A clip's name from its video and the second at which it starts."""
    return f"{video_id}_{start:06d}"
