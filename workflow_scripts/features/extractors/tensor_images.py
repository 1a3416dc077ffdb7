"""The pictures of a corpus of tensors, as they are."""

from pathlib import Path

import numpy as np

from workflow_scripts.features.interface import CorpusExtractor, Lookup
from workflow_scripts.features.tensors import items

SIDE = 28


class Extractor(CorpusExtractor):
    """Grey pictures of 28 x 28 pixels; a frame is a line of pixels."""

    files = ("training_images", "test_images")

    def shape(self, clip_seconds: float) -> tuple[int, int]:
        return SIDE, SIDE

    def load(self, files: dict[str, Path], device: str) -> Lookup:
        pictures = items(files, "images", (1, SIDE, SIDE))

        def extract(names: list[str]) -> np.ndarray:
            return pictures(names)[:, 0]

        return extract
