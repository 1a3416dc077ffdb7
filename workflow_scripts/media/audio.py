"""Reads the sound of fetched clips: channel mean, resampled, one int16 array of equal length per clip."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from workflow_scripts.driver import map_clips
from workflow_scripts.errors import run
from workflow_scripts.media.plan import DecodeAudio
from workflow_scripts.media.stored import check
from workflow_scripts.media.streams import beginning, check_seconds, check_sound, silence_before
from workflow_scripts.media.workers import Workers
from workflow_scripts.settings.base import from_argument
from workflow_scripts.settings.media import Audio, Bounds, Resampler
from workflow_scripts.shards import ClipError, Reason, Row, Status, array_field, pack, read, rows_in

RUN_OUT = 1.0  # seconds after what is kept of a sound, so that resampling hears what follows, not an end


def blocks(path: Path, bounds: Bounds) -> Iterator[tuple[np.ndarray, int]]:
    """The first audio stream of a media file, piece by piece: float32 (channels, samples) in [-1, 1], and its rate, Hz.

    Samples stand where the file's times put them: a sound that begins after the picture has silence before it, and
    one with a hole has silence in it.
    Raises `ClipError` (no_audio_stream, decode_error, out_of_bounds).
    """
    import av

    heard = 0  # samples, silence included
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise ClipError(Status.FAILED, Reason.NO_AUDIO)
            stream = container.streams.audio[0]
            check_sound(stream, bounds)
            rate, channels = stream.rate, len(stream.layout.channels)
            origin = beginning(container)
            # To float without mixing: a float downmix by ffmpeg is 3 dB above the mean of the channels. From 8 channels
            # on packed, because the conversion to planes crashes.
            planar = channels < 8
            to_float, waiting = av.AudioResampler(format="fltp" if planar else "flt"), av.AudioFifo()

            def taken() -> Iterator[tuple[np.ndarray, int]]:
                """What waits, as one array: to make one of every frame takes two thirds of the time of decoding."""
                if together := waiting.read():
                    samples = together.to_ndarray()
                    yield samples if planar else samples.reshape(-1, channels).T, rate

            for frame in container.decode(stream):
                silence = silence_before(frame, origin, heard / rate)
                parts = to_float.resample(frame)
                if missing := round(silence * rate):
                    pieces = [min(rate, missing - start) for start in range(0, missing, rate)]
                    yield from taken()
                    yield from ((np.zeros((channels, piece), np.float32), rate) for piece in pieces)
                    heard += missing
                for part in parts:
                    if part.layout.nb_channels != channels:
                        raise ValueError(f"{part.layout.nb_channels} channels after {channels}")
                    part.pts = None  # the gaps are dealt with
                    waiting.write(part)
                    heard += part.samples
                check_seconds(heard / rate, bounds)
                if waiting.samples >= rate:
                    yield from taken()
            yield from taken()
    except (av.FFmpegError, ValueError) as error:  # ValueError: the stream changes its rate or layout midway
        raise ClipError(Status.FAILED, Reason.DECODE, str(error)) from None
    if not heard:
        raise ClipError(Status.FAILED, Reason.DECODE, "the audio stream is empty")


def decode(path: Path) -> tuple[np.ndarray, int]:
    """The whole sound of a file: float32 (channels, samples), and its rate in Hz. Raises `ClipError` like `blocks`."""
    found = list(blocks(path, Bounds()))
    return np.concatenate([block for block, _ in found], axis=1), found[0][1]


def resample(samples: np.ndarray, rate: int, sample_rate: int, resampler: Resampler = "soxr_hq") -> np.ndarray:
    """float32 (samples,) from `rate` to `sample_rate` Hz."""
    if rate == sample_rate:
        return samples
    if resampler in ("soxr_hq", "soxr_vhq"):
        import soxr

        return soxr.resample(samples, rate, sample_rate, quality=resampler.removeprefix("soxr_").upper())
    common = math.gcd(rate, sample_rate)
    if resampler == "polyphase":
        from scipy.signal import resample_poly

        return resample_poly(samples, sample_rate // common, rate // common).astype(np.float32)
    import torch
    from torchaudio.functional import resample as sinc

    return sinc(torch.from_numpy(samples), rate, sample_rate).numpy()


def length(samples: int, rate: int, sample_rate: int, resampler: Resampler) -> int:
    """The samples that `resample` makes of so many."""
    exact = Fraction(samples * sample_rate, rate)
    return math.floor(exact + Fraction(1, 2)) if resampler.startswith("soxr") else math.ceil(exact)


def read_mono(path: Path, sample_rate: int, resampler: Resampler = "soxr_hq") -> np.ndarray:
    """The mean of a file's channels at `sample_rate` Hz: float32 (samples,). Raises `ClipError` like `decode`."""
    channels, rate = decode(path)
    return resample(channels.mean(axis=0), rate, sample_rate, resampler)


def read_start(path: Path, seconds: float, bounds: Bounds) -> tuple[np.ndarray, int, int]:
    """The mean of a file's channels, of its first `seconds` or a little more, its rate, and the samples of all of it.

    Memory holds no more than that. Raises `ClipError` like `blocks`, and for samples that are no numbers.
    """
    kept: list[np.ndarray] = []
    samples = rate = 0
    for block, rate in blocks(path, bounds):
        if samples < seconds * rate:
            kept.append(block.mean(axis=0))
        samples += block.shape[1]
    sound = np.concatenate(kept)
    if not np.isfinite(sound).all():
        raise ClipError(Status.FAILED, Reason.DECODE, "samples that are no numbers")
    return sound, rate, samples


def read_clip(path: Path, settings: Audio, bounds: Bounds) -> tuple[np.ndarray, float]:
    """A clip's sound as int16 (settings.samples,), zero-padded or truncated, and its true length in seconds.

    Raises `ClipError` (no_audio_stream, decode_error, out_of_bounds, too_short, silent).
    """
    start, rate, samples = read_start(path, settings.clip_seconds + RUN_OUT, bounds)
    sound = resample(start, rate, settings.sample_rate, settings.resampler)
    seconds = length(samples, rate, settings.sample_rate, settings.resampler) / settings.sample_rate
    if seconds < settings.minimum_seconds:
        raise ClipError(Status.FAILED, Reason.TOO_SHORT, f"{seconds:.3f} s of sound")
    kept = sound[: settings.samples]
    peak = float(np.abs(kept).max(initial=0.0))
    if peak < 10 ** (settings.silence_peak_db / 20):
        level = f"{20 * math.log10(peak):.0f} dB" if peak else "zero"
        raise ClipError(Status.FAILED, Reason.SILENT, f"the peak is {level}")
    clip = np.zeros(settings.samples, np.int16)
    clip[: len(kept)] = np.clip(np.rint(kept * 32768), -32768, 32767)
    return clip, seconds


def read_row(store: Path, row: Row, settings: Audio, bounds: Bounds) -> tuple[np.ndarray, float]:
    """`read_clip` of a fetched clip, if its file is what was fetched."""
    check(store / row["path"], row)
    return read_clip(store / row["path"], settings, bounds)


def decode_audio(job: DecodeAudio, output: Path) -> None:
    """Reads the sound of a shard of fetched clips."""
    column = array_field("audio", "int16", (job.audio.samples,))

    def encoded(found: tuple[np.ndarray, float] | ClipError) -> Row | ClipError:
        return found if isinstance(found, ClipError) else {"seconds": found[1], "audio": pack(found[0], column)}

    with Workers(job.threads) as workers:

        def read_rows(rows: list[Row]) -> list[Row | ClipError]:
            return [*map(encoded, workers.map(read_row, [(job.store, row, job.audio, job.bounds) for row in rows]))]

        columns = [pa.field("seconds", pa.float64()), column]
        total = rows_in(job.clips)
        map_clips(job, read(job.clips), output, columns, read_rows, "sound", total, batch=16, rows_a_group=64)


def main(
    clips: Annotated[Path, typer.Option(help="a shard of fetched clips")],
    store: Annotated[Path, typer.Option(help="the folder to which the clips' paths are relative")],
    definition: Annotated[str, typer.Option(help="settings of the audio, JSON or @file.json")],
    output: Annotated[Path, typer.Option(help="the shard to write")],
) -> None:
    """Reads the sound of a shard of fetched clips."""
    audio = Audio.check(from_argument(definition), "--definition")
    decode_audio(DecodeAudio(clips=clips, store=store, audio=audio), output)


if __name__ == "__main__":
    run(lambda: typer.run(main))
