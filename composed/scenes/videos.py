"""Sources as videos, composed in parallel and continued after a break.

`folder/sources/<id>.mp4` is a source and `folder/recipes/<id>.json` its record: what is in it, where. A source whose
record is there was finished; the id is a hash of all that it is made from.
"""

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from composed.files import write_text
from composed.pictures.glyphs import FONT, Pictures
from composed.pictures.video import Video, encode
from composed.processes import in_processes
from composed.scenes import scene as scenes
from composed.scenes.sources import Source, SourceComposer
from composed.types import Assets
from workflow_scripts.progress import progress

Record = dict[str, Any]


class VideoComposer(SourceComposer):
    """A composer whose sources are videos; `assets` has the font."""

    video: Video = Field(default=Video(), description="Form of the video files")

    @abstractmethod
    def glyphs(self) -> Mapping[str, str]:
        """The characters that show each subject of a picture."""

    def write_sources(self, wanted: Sequence[Source], assets: Assets, folder: Path, workers: int) -> dict[str, Record]:
        """The records of all `wanted` sources by id; composes those that are not there, removes those not wanted."""
        clean(folder, {source.id for source in wanted})
        missing = [source for source in wanted if record_of(folder, source) is None]
        if missing:
            made = in_processes(VideoMaker, (self, assets, folder), missing, workers)
            for _ in progress(made, "compose", len(missing), "source"):
                pass
        records = {source.id: record_of(folder, source) for source in wanted}
        return {name: record for name, record in records.items() if record is not None}


class VideoMaker:
    """Writes one source after another."""

    def __init__(self, composer: VideoComposer, assets: Assets, folder: Path) -> None:
        import cv2

        from composed.sounds.bank import SAMPLE_RATE, SoundBank

        cv2.setNumThreads(1)
        self.composer, self.folder, self.sample_rate = composer, folder, SAMPLE_RATE
        self.bank = SoundBank(assets, composer.splits, composer.seed)
        self.bank.load(composer.sounding())
        self.pictures = Pictures(assets[FONT], composer.glyphs(), composer.video.width, composer.video.height)

    def make(self, source: Source) -> None:
        """Composes a source and its record, whatever was composed before it."""
        key = [self.composer.seed, int.from_bytes(source.split.encode(), "big"), source.index]
        scene = self.composer.scene(self.bank, self.sample_rate, source, np.random.default_rng(key))
        path = source_path(self.folder, source.id)
        video = self.composer.video
        encode(path, scenes.waveform(scene), self.sample_rate, scenes.frames(scene, self.pictures, video.fps), video)
        record = {
            "split": source.split,
            "index": source.index,
            "seconds": scene.seconds,
            "section": scene.section,
            "events": [
                {"label": e.label, "onset": e.onset, "offset": e.offset, "gain_db": e.gain_db} for e in scene.events
            ],
            "pictures": [{"subject": p.subject, "onset": p.onset, "offset": p.offset} for p in scene.pictures],
            "bytes": path.stat().st_size,
        }
        write_text(recipe_path(self.folder, source.id), json.dumps(record, indent=1))


def record_of(folder: Path, source: Source) -> Record | None:
    """A finished source's record, or None when the source is not there in full."""
    try:
        record: Record = json.loads(recipe_path(folder, source.id).read_text(encoding="utf-8"))
        whole = source_path(folder, source.id).stat().st_size == record["bytes"]
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return record if whole else None


def source_path(folder: Path, name: str) -> Path:
    return folder / "sources" / f"{name}.mp4"


def recipe_path(folder: Path, name: str) -> Path:
    return folder / "recipes" / f"{name}.json"


def clean(folder: Path, wanted: set[str]) -> None:
    """Removes sources and records of other compositions, and what a killed run left half-written."""
    for path in [*(folder / "sources").glob("*.mp4"), *(folder / "recipes").glob("*.json")]:
        if path.stem not in wanted:
            path.unlink()
    for part in [*(folder / "sources").glob(".*.part"), *(folder / "recipes").glob(".*.part")]:
        part.unlink()
