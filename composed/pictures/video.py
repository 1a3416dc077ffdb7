"""Encodes a waveform and frames as an mp4 file with H.264 and AAC."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from workflow_scripts.settings.base import Strict
from workflow_scripts.shards import atomic


class Video(Strict):
    """Form of the composed video files."""

    width: int = Field(default=176, ge=32, multiple_of=2, description="Pixels")
    height: int = Field(default=144, ge=32, multiple_of=2, description="Pixels")
    fps: int = Field(default=6, ge=1, description="Frames a second; there is a key frame every second")
    crf: int = Field(default=23, ge=0, le=51, description="Quality of H.264: 0 is lossless, 23 usual")
    audio_bitrate: int = Field(default=96_000, ge=32_000, description="Bits a second of the mono AAC stream")


def encode(
    path: Path, waveform: NDArray[np.float32], sample_rate: int, frames: Iterable[NDArray[np.uint8]], video: Video
) -> None:
    """Writes `path` atomically: `waveform` (samples,) in -1…1, `frames` (height, width, 3) RGB from second 0 on.

    The same input gives the same bytes: one encoding thread, and no time or version is written.
    """
    import av

    options = {"fflags": "+bitexact", "movflags": "+faststart"}
    with atomic(path) as temporary, av.open(str(temporary), "w", format="mp4", options=options) as container:
        picture = container.add_stream("libx264", rate=video.fps)
        picture.width, picture.height, picture.pix_fmt = video.width, video.height, "yuv420p"
        picture.codec_context.thread_count = 1
        picture.codec_context.gop_size = video.fps
        # No lookahead and no adaptive quantisation: with them, the last macroblock differs now and then.
        picture.options = {"preset": "ultrafast", "crf": str(video.crf), "bf": "0", "sc_threshold": "0"}
        sound = container.add_stream("aac", rate=sample_rate, layout="mono")
        sound.bit_rate = video.audio_bitrate
        sound.options = {"aac_coder": "fast"}  # half the time of the default, and no worse at these rates
        for stream in (picture, sound):
            stream.codec_context.flags |= av.codec.context.Flags.bitexact

        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, video.fps)
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        whole = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform[None]), format="fltp", layout="mono")
        whole.sample_rate, whole.pts, whole.time_base = sample_rate, 0, Fraction(1, sample_rate)
        container.mux(sound.encode(whole))
        container.mux(sound.encode(None))
