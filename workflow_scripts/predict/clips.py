"""From files that people have to what a network reads: the very steps that training's clips went through."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from workflow_scripts import shards
from workflow_scripts.devices import Device
from workflow_scripts.features.plan import ExtractFeatures
from workflow_scripts.media.plan import DecodeAudio, FetchClips
from workflow_scripts.media.probe import measure, shortest
from workflow_scripts.media.workers import Workers
from workflow_scripts.parquet import parquet_schema
from workflow_scripts.predict.description import Description
from workflow_scripts.settings.archive import Archive
from workflow_scripts.settings.download import Download
from workflow_scripts.settings.losses import Losses
from workflow_scripts.settings.media import Audio
from workflow_scripts.shards import STATE, ClipError, Row, Status
from workflow_scripts.training.stream import Block

log = logging.getLogger(__name__)

BATCH = 16  # clips at once
ALL = Losses(ours=1, all=1)  # what cannot be used is told, and the others are predicted
MANIFEST = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("clip_id", "split", "link")),
        *(pa.field(name, pa.float64()) for name in ("start", "end")),
        pa.field("may_end_early", pa.bool_()),
        pa.field("files", pa.list_(pa.string())),
        *STATE,
    ]
)


class Part(NamedTuple):
    """What a row of predictions is of: a file, or `start` to `end` of it in seconds."""

    file: str
    start: float
    end: float


def windows(seconds: float, clip_seconds: float, tolerance: float) -> list[tuple[float, float | None]]:
    """Start and end of the clips in a recording; one that is as long as a clip, or shorter, is taken as it is."""
    count = max(math.ceil((seconds - tolerance) / clip_seconds), 1)
    if count == 1:
        return [(0.0, None)]
    return [(number * clip_seconds, min((number + 1) * clip_seconds, seconds)) for number in range(count)]


def found_clips(
    description: Description, files: Mapping[str, Path], folder: Path, threads: int
) -> tuple[list[Row], dict[str, Part]]:
    """The manifest's rows of files by the names for them, and what each clip is; `folder` gets links to the files."""
    rows, parts = [], {}
    wanted = Download(streams=description.streams)
    with Workers(threads) as workers:
        measured = workers.map(measure, [(path.resolve(), description.bounds) for path in files.values()])
    for number, ((name, path), found) in enumerate(zip(files.items(), measured, strict=True)):
        try:
            if isinstance(found, ClipError):
                raise found
            seconds = shortest(found, wanted)
        except ClipError as error:
            tell(name, error.reason, error.detail)
            continue
        link = f"{number}{path.suffix}"
        (folder / link).symlink_to(path.resolve())
        for place, (start, end) in enumerate(windows(seconds, description.clip_seconds, wanted.tolerance)):
            clip_id = f"{number:06d}-{place:06d}"
            parts[clip_id] = Part(name, start, seconds if end is None else end)
            row = {"clip_id": clip_id, "split": "files", "link": link, "files": [link], "status": Status.OK}
            rows.append(row | {"start": start, "end": end, "may_end_early": end is not None})
    return rows, parts


def tell(what: str, reason: str, detail: str | None) -> None:
    """Says why there is no prediction of a file, or a part of one."""
    log.warning("%s: nothing is predicted of it: %s%s", what, reason, f" ({detail})" if detail else "")


def media_blocks(
    description: Description,
    files: Mapping[str, Path],
    assets: Mapping[str, Path],
    folder: Path,
    device: Device,
    threads: int,
) -> tuple[Iterator[Block], dict[str, Part]]:
    """The features of files that sound or show something, as `rows` of a predictor reads them, and what each clip is.

    Everything on the way lies in `folder`. What cannot be used is told, and left out.
    """
    links = folder / "links"
    links.mkdir()
    rows, parts = found_clips(description, files, links, threads)
    if not rows:
        return iter(()), parts
    manifest, store = folder / "manifest.parquet", folder / "store"
    shards.write(manifest, rows, MANIFEST)
    download = Download(streams=description.streams, concurrent=min(max(threads, 1), 8))
    how: dict[str, Any] = {"store": store, "bounds": description.bounds, "threads": threads}
    clips = store / "clips" / "0.parquet"
    FetchClips(manifest=manifest, download=download, archive=Archive(folder=links), **how).run(clips)
    made: dict[str, Path] = {}
    for name, feature in description.features.items():
        settings, heard = feature.plugin(), clips
        if settings.source == "audio":
            heard = store / f"audio-{settings.sample_rate}" / "0.parquet"
            audio = Audio(sample_rate=settings.sample_rate, clip_seconds=description.clip_seconds)
            if not heard.exists():
                DecodeAudio(clips=clips, audio=audio, losses=ALL, **how).run(heard)
        made[name] = folder / "features" / f"{name}.parquet"
        ExtractFeatures(
            extractor=feature.extractor,
            settings=settings,
            assets={asset: assets[asset] for asset in settings.assets},
            clips=heard,
            clip_seconds=description.clip_seconds,
            device=device,
            losses=ALL,
            **how,
        ).run(made[name])
    return blocks(made, parts), parts


def blocks(made: Mapping[str, Path], parts: Mapping[str, Part]) -> Iterator[Block]:
    """The clips that are `ok` in all features, some at a time; their seconds are those that the first states."""
    fields = {name: parquet_schema(path).field("features") for name, path in made.items()}
    group: list[dict[str, Row]] = []
    for rows in zip(*map(shards.read, made.values()), strict=True):
        if failed := next((row for row in rows if row["status"] != Status.OK), None):
            part = parts[failed["clip_id"]]
            tell(f"{part.file}, {part.start:g} to {part.end:g} s", failed["reason"], failed["detail"])
            continue
        group.append(dict(zip(made, rows, strict=True)))
        if len(group) == BATCH:
            yield block_of(group, fields)
            group = []
    if group:
        yield block_of(group, fields)


def block_of(clips: Sequence[Mapping[str, Row]], fields: Mapping[str, pa.Field]) -> Block:
    """The features of some clips, each (clips, frames, dimensions) in the dtype in which training stores it."""
    first = [next(iter(clip.values())) for clip in clips]
    block: Block = {
        "clip_id": np.array([row["clip_id"] for row in first], object),
        "seconds": np.array([row["seconds"] for row in first]),
    }
    for name, field in fields.items():
        dtype, shape = shards.array_spec(field)
        block[name] = np.stack([np.frombuffer(clip[name]["features"], dtype).reshape(shape) for clip in clips])
    return block | ({"features": block[next(iter(fields))]} if len(fields) == 1 else {})
