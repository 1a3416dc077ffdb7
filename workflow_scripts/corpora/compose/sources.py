"""Composes the source videos of a corpus: in parallel, and continued after a break.

`folder/sources/<id>.mp4` is a source and `folder/recipes/<id>.json` its record: what it was made from and what is in
it, where. A source whose record is there was finished; the id is a hash of all that it is made from.
"""

import base64
import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from workflow_scripts.corpora.compose import scene as scenes
from workflow_scripts.corpora.compose.scene import Bank, Scene
from workflow_scripts.corpora.compose.video import Video, encode
from workflow_scripts.errors import UserError
from workflow_scripts.progress import progress
from workflow_scripts.shards import atomic

FONT = "emoji_font"

Assets = dict[str, Path]
Record = dict[str, Any]


class Composer(Protocol):
    """What a corpus says about its sources."""

    @property
    def seed(self) -> int: ...

    @property
    def video(self) -> Video: ...

    @property
    def splits(self) -> Sequence[str]: ...

    def glyphs(self) -> Mapping[str, str]: ...

    def scene(self, bank: Bank, sample_rate: int, split: str, index: int, rng: np.random.Generator) -> Scene: ...


@dataclass(frozen=True)
class Source:
    """One source to compose. Its id looks like a video id: 11 characters of A-Z a-z 0-9 - _."""

    id: str
    split: str
    index: int


def sources(composition: Mapping[str, Any], assets: Assets, counts: Mapping[str, int]) -> list[Source]:
    """The sources of every split. `composition` is all that decides what one source is (so not how many there are)."""
    made_from = {
        "composition": dict(composition),
        "assets": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(assets.items())},
    }
    whole = json.dumps(made_from, sort_keys=True)

    def identifier(split: str, index: int) -> str:
        digest = hashlib.blake2b(f"{whole}/{split}/{index}".encode(), digest_size=8).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")

    return [Source(identifier(split, index), split, index) for split, count in counts.items() for index in range(count)]


def compose(
    composer: Composer, wanted: Sequence[Source], assets: Assets, folder: Path, workers: int
) -> dict[str, Record]:
    """The records of all `wanted` sources by id; composes those that are not there and removes those not wanted."""
    clean(folder, {source.id for source in wanted})
    missing = [source for source in wanted if record_of(folder, source) is None]
    for _ in progress(_composed(composer, missing, assets, folder, workers), "compose", len(missing), "source"):
        pass
    records = {source.id: record_of(folder, source) for source in wanted}
    return {name: record for name, record in records.items() if record is not None}


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


def _composed(
    composer: Composer, missing: Sequence[Source], assets: Assets, folder: Path, workers: int
) -> Iterator[Source]:
    if not missing:
        return
    if workers == 1:
        studio = Studio(composer, assets, folder)
        for source in missing:
            studio.make(source)
            yield source
        return
    with ProcessPoolExecutor(
        min(workers, len(missing)), multiprocessing.get_context("spawn"), _open_studio, (composer, assets, folder)
    ) as pool:
        try:
            for future in as_completed([pool.submit(_make, source) for source in missing]):
                yield future.result()
        except BrokenProcessPool:
            raise UserError("a composing process was killed; run again, what is finished is kept") from None
        finally:
            pool.shutdown(cancel_futures=True)


class Studio:
    """All that one process needs to compose sources."""

    def __init__(self, composer: Composer, assets: Assets, folder: Path) -> None:
        import cv2

        from workflow_scripts.corpora.compose.pictures import Pictures
        from workflow_scripts.corpora.compose.sounds import SAMPLE_RATE, SoundBank

        cv2.setNumThreads(1)
        if FONT not in assets:
            raise UserError(f"the asset '{FONT}' is not given; add --asset {FONT}=PATH")
        self.composer, self.folder, self.sample_rate = composer, folder, SAMPLE_RATE
        self.bank = SoundBank(assets, composer.splits, composer.seed)
        self.pictures = Pictures(assets[FONT], composer.glyphs(), composer.video.width, composer.video.height)

    def make(self, source: Source) -> None:
        """Composes one source from its own random generator, whatever was composed before it."""
        key = [self.composer.seed, int.from_bytes(source.split.encode(), "big"), source.index]
        rng = np.random.default_rng(key)
        scene = self.composer.scene(self.bank, self.sample_rate, source.split, source.index, rng)
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
        with atomic(recipe_path(self.folder, source.id)) as temporary:
            temporary.write_text(json.dumps(record, indent=1), encoding="utf-8")


_studio: list[Studio] = []  # of a worker process


def _open_studio(composer: Composer, assets: Assets, folder: Path) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    _studio[:] = [Studio(composer, assets, folder)]


def end_with_parent() -> None:
    """Without this, a worker whose parent is killed would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(source: Source) -> Source:
    _studio[0].make(source)
    return source
