"""Features of one shard of clips."""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib.format import open_memmap

from workflow_scripts.devices import prepared
from workflow_scripts.driver import map_clips
from workflow_scripts.errors import UserError
from workflow_scripts.features.images import fit
from workflow_scripts.features.interface import AudioExtractor, CorpusExtractor, FrameExtractor
from workflow_scripts.features.plan import ExtractCorpus, ExtractFeatures
from workflow_scripts.media.workers import Workers
from workflow_scripts.parquet import parquet_schema
from workflow_scripts.settings.media import Bounds
from workflow_scripts.shards import (
    ClipError,
    Reason,
    Row,
    Status,
    array_field,
    array_spec,
    pack,
    read,
    rows_in,
    shard_of,
)

SECONDS = pa.field("seconds", pa.float64())
FRAMES = 16  # that are resized together: those of a clip, as they were filmed, take gigabytes
FLOAT16_LARGEST = float(np.finfo(np.float16).max)

Inputs = Callable[[list[Row]], list[np.ndarray | ClipError]]


def column_of(shard: Path, name: str) -> pa.Field:
    """A column of a shard; one that is missing, or a file that is no shard, is a `UserError`."""
    schema = parquet_schema(shard)
    if name not in schema.names:
        raise UserError(
            f"{shard}: has no column '{name}'; audio extractors read audio shards, frame extractors fetched clips, "
            "and those of a corpus's own files its manifest"
        )
    return schema.field(name)


def audio_inputs(extractor: AudioExtractor, clips: Path, clip_seconds: float) -> Inputs:
    """Reads float32 waveforms from an audio shard's rows; a shard at another rate or length is a `UserError`."""
    expected = extractor.samples(clip_seconds)
    dtype, (samples,) = array_spec(column_of(clips, "audio"))
    if samples != expected:
        raise UserError(
            f"{clips}: holds {samples} samples a clip, and {clip_seconds:g} s at {extractor.sample_rate} Hz are "
            f"{expected}; give the audio shard of that rate and length"
        )

    def waveform(row: Row) -> np.ndarray:
        samples = np.frombuffer(row["audio"], dtype).astype(np.float32) / 32768
        peak = np.abs(samples).max()
        return samples / peak if extractor.peak_normalise and peak > 0 else samples

    return lambda rows: [waveform(row) for row in rows]


def frame_inputs(job: ExtractFeatures, extractor: FrameExtractor, workers: Workers, pool: ThreadPoolExecutor) -> Inputs:
    """Decodes square frames from the files that a clips shard names, several files at once.

    A clip shorter than the job's `clip_seconds` shows its last frame from its end on.
    """
    column_of(job.clips, "path")
    times = extractor.times(job.clip_seconds)

    def frames(row: Row) -> np.ndarray | ClipError:
        with tempfile.TemporaryDirectory() as folder:  # through pipes, tens of megabytes take as long as decoding them
            place = Path(folder, "frames.npy")
            try:
                workers.call(save_frames, job.store, row, np.minimum(times, row["seconds"]), job.bounds, place)
            except ClipError as error:
                return error
            frames = np.load(place, mmap_mode="c")
            parts = [frames[start : start + FRAMES] for start in range(0, len(frames), FRAMES)]
            return np.concatenate([fit(part, extractor.size, extractor.resize) for part in parts])

    return lambda rows: list(pool.map(frames, rows))


def save_frames(store: Path, row: Row, times: np.ndarray, bounds: Bounds, place: Path) -> None:
    """Saves the frames of a fetched clip (`media.frames.read`), if its file is what was fetched; one is held at a time.

    151 frames, as of Boes & Van hamme 2021, take 190 MB at 480 lines, 0.9 GB at 1080 and 3.8 GB at 2160, on the disk
    for temporary files, for each clip that is decoded at a time.
    """
    from workflow_scripts.media.frames import read
    from workflow_scripts.media.stored import check

    check(store / row["path"], row)
    read(store / row["path"], times, bounds=bounds, room=lambda shape: open_memmap(place, "w+", np.uint8, shape))


def features_of(inputs: Inputs, extract: Callable[[np.ndarray], np.ndarray], column: pa.Field) -> Callable:
    """The driver's function: a batch of rows to their features, or to the error that befell each."""
    import torch

    def encode(features: np.ndarray) -> Row | ClipError:
        largest = np.abs(features).max()
        if not largest <= FLOAT16_LARGEST:  # NaN is not either
            detail = f"features hold {largest:g}, which half precision cannot"
            return ClipError(Status.FAILED, Reason.UNEXPECTED, detail)
        return {column.name: pack(features, column)}

    def process(rows: list[Row]) -> list[Row | ClipError]:
        found = inputs(rows)
        usable = [array for array in found if not isinstance(array, ClipError)]
        if not usable:
            return [error for error in found if isinstance(error, ClipError)]
        with torch.inference_mode():
            encoded = map(encode, extract(np.stack(usable)))
        return [item if isinstance(item, ClipError) else next(encoded) for item in found]

    return process


def corpus_inputs(extractor: CorpusExtractor, files: dict[str, Path], device: str) -> Inputs:
    """Takes features out of a corpus's own files."""
    look_up = extractor.load(files, device)
    return lambda rows: list(look_up([row["clip_id"] for row in rows]))


def in_shard(manifest: Path, shard: int, shards: int, clip_seconds: float) -> list[Row]:
    """The manifest's clips that belong to a shard, each of them `clip_seconds` long."""
    column_of(manifest, "split")
    return [{**row, "seconds": clip_seconds} for row in read(manifest) if shard_of(row["clip_id"], shards) == shard]


def extract_media(job: ExtractFeatures, output: Path) -> None:
    """Extracts features of sound or frames: float16 (frames, dimensions) for each clip of a shard."""
    settings, device = job.settings, prepared(job.device, job.threads)
    column = array_field("features", "float16", settings.shape(job.clip_seconds))
    with Workers(job.threads) as workers, ThreadPoolExecutor(job.threads) as pool:
        if isinstance(settings, FrameExtractor):
            inputs = frame_inputs(job, settings, workers, pool)
        else:
            inputs = audio_inputs(settings, job.clips, job.clip_seconds)
        function = features_of(inputs, settings.load(job.assets, device), column)
        about: dict[str, Any] = {"carry": [SECONDS], "batch": job.batch, "rows_a_group": max(job.batch, 64)}
        about |= {"total": rows_in(job.clips)}
        map_clips(job, read(job.clips), output, [column], function, f"{job.extractor} features", **about)


def extract_corpus(job: ExtractCorpus, output: Path) -> None:
    """Extracts features out of a corpus's own files: float16 (frames, dimensions) for each clip of a shard."""
    column = array_field("features", "float16", job.settings.shape(job.clip_seconds))
    inputs = corpus_inputs(job.settings, job.files, prepared(job.device, job.threads))
    rows = in_shard(job.manifest, job.shard, job.shards, job.clip_seconds)
    function = features_of(inputs, lambda features: features, column)
    about: dict[str, Any] = {"total": len(rows), "batch": job.batch, "carry": [SECONDS]}
    map_clips(job, rows, output, [column], function, f"{job.extractor} features", **about)
