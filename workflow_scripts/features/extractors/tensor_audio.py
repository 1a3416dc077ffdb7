"""The waveforms of a corpus of tensors, as they are."""

from pathlib import Path

from workflow_scripts.features.interface import CorpusExtractor, Lookup
from workflow_scripts.features.tensors import items

SAMPLE_RATE = 8_000


class Extractor(CorpusExtractor):
    """Mono waveforms at 8 kHz: one frame with all samples of the clip."""

    files = ("training_audio", "test_audio")

    def shape(self, clip_seconds: float) -> tuple[int, int]:
        return 1, round(clip_seconds * SAMPLE_RATE)

    def load(self, files: dict[str, Path], device: str) -> Lookup:
        return items(files, "audio", self.shape(1.0))
