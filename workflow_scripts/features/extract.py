"""Features of one shard of clips."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from workflow_scripts.assets.paths import needed, parse
from workflow_scripts.errors import UserError, run
from workflow_scripts.features.images import fit
from workflow_scripts.features.interface import AudioExtractor, CorpusExtractor, FrameExtractor
from workflow_scripts.settings.base import from_argument, pairs
from workflow_scripts.settings.plugins import EXTRACTORS, plugin
from workflow_scripts.shards import (
    STATE,
    ClipError,
    Reason,
    Row,
    Status,
    array_field,
    array_spec,
    map_rows,
    map_shard,
    pack,
    read,
    shard_of,
    write,
)

FLOAT16_LARGEST = float(np.finfo(np.float16).max)

Inputs = Callable[[list[Row]], list[np.ndarray | ClipError]]


def column_of(shard: Path, name: str) -> pa.Field:
    """A column of a shard; one that is missing, or a file that is no shard, is a `UserError`."""
    try:
        schema = pq.read_schema(shard)
    except (OSError, pa.ArrowInvalid) as error:
        raise UserError(f"{shard}: not a readable Parquet file ({error})") from None
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


def frame_inputs(
    extractor: FrameExtractor, clips: Path, store: Path, clip_seconds: float, pool: ThreadPoolExecutor
) -> Inputs:
    """Decodes square frames from the files that a clips shard names, several files at once.

    A clip shorter than `clip_seconds` shows its last frame from its end on.
    """
    from workflow_scripts.media.frames import read

    column_of(clips, "path")
    times = extractor.times(clip_seconds)

    def frames(row: Row) -> np.ndarray | ClipError:
        try:
            images = read(store / row["path"], np.minimum(times, row["seconds"]))
        except ClipError as error:
            return error
        return fit(images, extractor.size, extractor.resize)

    return lambda rows: list(pool.map(frames, rows))


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


def main(
    *,
    extractor: Annotated[str, typer.Option(help="Name of a file in workflow_scripts/features/extractors.")],
    clip_seconds: Annotated[float, typer.Option(min=0.01, help="Length to which every clip is brought.")],
    clips: Annotated[
        Path,
        typer.Option(help="Audio shard; for frames the shard of fetched clips; for a corpus's files its manifest."),
    ],
    output: Annotated[Path, typer.Option(help="Features shard to write.")],
    definition: Annotated[str, typer.Option(help="The extractor's settings: JSON or @file.json.")] = "{}",
    store: Annotated[Path | None, typer.Option(help="Folder of the clips' files; else the shard's own.")] = None,
    asset: Annotated[list[str] | None, typer.Option(help="id=path of a file that the extractor needs.")] = None,
    file: Annotated[list[str] | None, typer.Option(help="role=path of a corpus's file that is looked into.")] = None,
    shard: Annotated[int, typer.Option(min=0, help="Of a manifest: the shard whose clips are taken.")] = 0,
    shards: Annotated[int, typer.Option(min=1, help="Of a manifest: the number of shards.")] = 1,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Threads for decoding and computing.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Clips at once.")] = 16,
) -> None:
    """Extracts features from one shard of clips into another: float16 (frames, dimensions) for each clip."""
    chosen = plugin(EXTRACTORS, extractor, "--extractor")
    settings: AudioExtractor | FrameExtractor | CorpusExtractor = chosen.check(
        from_argument(definition), "--definition"
    )
    assets = needed(parse(asset or []), settings.assets, f"extractor '{extractor}'")

    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch sees no CUDA device here; give --device cpu or auto")
    torch.set_num_threads(threads)
    column = array_field("features", "float16", settings.shape(clip_seconds))
    seconds = pa.field("seconds", pa.float64())
    where = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    description = f"{extractor} features"
    if isinstance(settings, CorpusExtractor):
        files = {role: Path(path) for role, path in pairs(file, "file").items()}
        inputs = corpus_inputs(settings, needed(files, settings.files, f"extractor '{extractor}'", "--file"), where)
        rows = in_shard(clips, shard, shards, clip_seconds)
        function = features_of(inputs, lambda features: features, column)
        made = map_rows(rows, function, description, len(rows), batch, [seconds.name])
        write(output, made, pa.schema([pa.field("clip_id", pa.string(), nullable=False), seconds, column, *STATE]))
        return
    with ThreadPoolExecutor(threads) as pool:
        if isinstance(settings, FrameExtractor):
            inputs = frame_inputs(settings, clips, store or clips.parent, clip_seconds, pool)
        else:
            inputs = audio_inputs(settings, clips, clip_seconds)
        function = features_of(inputs, settings.load(assets, where), column)
        map_shard(clips, output, [column], function, description, batch, carry=[seconds])


if __name__ == "__main__":
    run(lambda: typer.run(main))
