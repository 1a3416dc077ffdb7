"""Reads the sound of fetched clips: channel mean, resampled, one int16 array of equal length per clip."""

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from workflow_scripts.errors import run
from workflow_scripts.media.plan import DecodeAudio
from workflow_scripts.settings.base import from_argument
from workflow_scripts.settings.media import Audio, Resampler
from workflow_scripts.shards import ClipError, Reason, Row, Status, array_field, map_shard, pack

HOLE = 0.1  # seconds between two frames that are no rounding of their times; ffmpeg's own measure
MOST_SILENCE = 3600.0  # seconds


def decode(path: Path) -> tuple[np.ndarray, int]:
    """The first audio stream of a media file: float32 (channels, samples) in [-1, 1], and its rate in Hz.

    Samples stand where the file's times put them: a sound that begins after the picture has silence before it, and
    one with a hole has silence in it.
    Raises `ClipError` (no_audio_stream, decode_error).
    """
    import av

    blocks: list[np.ndarray] = []
    heard = 0  # samples, silence included
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise ClipError(Status.FAILED, Reason.NO_AUDIO)
            stream = container.streams.audio[0]
            rate = stream.rate
            origin = (container.start_time or 0) / av.time_base
            # To float without mixing: a float downmix by ffmpeg is 3 dB above the mean of the channels. From 8 channels
            # on packed, because the conversion to planes crashes.
            planar = len(stream.layout.channels) < 8
            to_float = av.AudioResampler(format="fltp" if planar else "flt")
            for frame in container.decode(stream):
                silence = 0.0 if frame.time is None else frame.time - origin - heard / rate
                if silence > MOST_SILENCE:
                    raise ClipError(Status.FAILED, Reason.DECODE, f"its time jumps by {silence:.0f} s")
                parts = [part.to_ndarray() for part in to_float.resample(frame)]
                if not planar:
                    parts = [part.reshape(-1, len(frame.layout.channels)).T for part in parts]
                if silence > (HOLE if blocks else 0):
                    parts.insert(0, np.zeros((len(frame.layout.channels), round(silence * rate)), np.float32))
                heard += sum(part.shape[1] for part in parts)
                blocks += parts
    except (av.FFmpegError, ValueError) as error:  # ValueError: the stream changes its rate or layout midway
        raise ClipError(Status.FAILED, Reason.DECODE, str(error)) from None
    if not blocks:
        raise ClipError(Status.FAILED, Reason.DECODE, "the audio stream is empty")
    return np.concatenate(blocks, axis=1), rate


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


def read_mono(path: Path, sample_rate: int, resampler: Resampler = "soxr_hq") -> np.ndarray:
    """The mean of a file's channels at `sample_rate` Hz: float32 (samples,). Raises `ClipError` like `decode`."""
    channels, rate = decode(path)
    return resample(channels.mean(axis=0), rate, sample_rate, resampler)


def read_clip(path: Path, settings: Audio) -> tuple[np.ndarray, float]:
    """A clip's sound as int16 (settings.samples,), zero-padded or truncated, and its true length in seconds.

    Raises `ClipError` (no_audio_stream, decode_error, too_short, silent).
    """
    sound = read_mono(path, settings.sample_rate, settings.resampler)
    seconds = len(sound) / settings.sample_rate
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


def decode_audio(job: DecodeAudio, output: Path) -> None:
    """Reads the sound of a shard of fetched clips."""
    column = array_field("audio", "int16", (job.audio.samples,))

    def read_row(rows: list[Row]) -> list[Row | ClipError]:
        clip, seconds = read_clip(job.store / rows[0]["path"], job.audio)
        return [{"seconds": seconds, "audio": pack(clip, column)}]

    map_shard(job.clips, output, [pa.field("seconds", pa.float64()), column], read_row, "audio")


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
