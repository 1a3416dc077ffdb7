"""Plain texts, one a line in a file a split: what a network of language is pretrained on. There is nothing to hear."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from workflow_scripts.corpora.interface import CorpusReader, Found, invented_caption
from workflow_scripts.files import BLANK, text_lines
from workflow_scripts.shards import Row


class Reader(CorpusReader):
    """Each line that is not empty is a clip with one caption and no media, `<split>-<line>`."""

    files: ClassVar[dict[str, str]] = {"train": "train.txt", "validation": "validation.txt"}

    @classmethod
    def invented(cls, split: str, place: int, random: np.random.Generator) -> Row:
        """One text."""
        return {"captions": [invented_caption(random)]}

    def read(self, files: dict[str, Path]) -> Iterator[Row]:
        """The rows of texts, streamed; a file that is none is a `UserError`."""
        for split in self.files:
            path = files[split]
            for number, line in enumerate(text_lines(path, "text"), 1):
                if text := line.strip(BLANK):
                    about = {"video_id": f"{split}-{number}", "start": 0.0, "end": None}
                    row = {"clip_id": f"{split}-{number}", **about, "split": split, "captions": [text]}
                    yield Found(f"{path}, line {number}", row)
