"""Small media files whose content tells the time: the grey of a frame and the pitch of the tone say when they are."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 44_100
FPS = 10


def grey(seconds: float) -> int:
    """The grey level of the frame that begins at a time: 8 levels more each tenth of a second, up to 3 s."""
    return round(8 * seconds * FPS) % 240 + 8


def pitch(second: int) -> float:
    """The frequency of the tone in a whole second, Hz."""
    return 300.0 * (second + 1)


def tone(seconds: float, rate: int = RATE) -> np.ndarray:
    """float32 (samples,): a sine at a quarter of full scale, its pitch rising every second."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.25 * np.sin(2 * np.pi * 300.0 * (np.floor(t) + 1) * t)).astype(np.float32)


def write_movie(
    path: Path,
    seconds: float = 6,
    sound: np.ndarray | str | None = "tone",
    picture: bool = True,
    pts: Sequence[int] | None = None,
    rate: int = RATE,
    scale: int = 1,
) -> Path:
    """Writes an mp4 (H.264, AAC): frames at 10 fps or at `pts` (hundredths of a second), sound (channels, samples)."""
    width, height = 64 * scale, 48 * scale
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = tone(seconds, rate)[None] if isinstance(sound, str) else sound
    with av.open(str(path), "w") as container:
        video = (
            container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "g": "7"}) if picture else None
        )
        audio = None
        if samples is not None:
            layout = "mono" if len(samples) == 1 else "stereo"
            # Without substitutes for noise, which decoders draw at random.
            audio = container.add_stream("aac", rate=rate, layout=layout, options={"aac_pns": "0"})
        if video is not None:
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            video.time_base = video.codec_context.time_base = Fraction(1, 100)
            for index in range(round(seconds * FPS)) if pts is None else pts:
                hundredths = index * 10 if pts is None else index
                level = grey(hundredths / 100)
                frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), level, np.uint8), format="rgb24")
                frame.pts, frame.time_base = hundredths, Fraction(1, 100)
                container.mux(video.encode(frame))
            container.mux(video.encode())
        if audio is not None and samples is not None:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=audio.layout.name)
            frame.sample_rate, frame.pts = rate, 0
            container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


def write_holed(path: Path, rate: int = 16_000) -> np.ndarray:
    """Writes 8 s of pictures and of PCM, of whose packets those from 2 to 4.5 s are missing; returns what is heard."""
    sound = tone(8, rate)
    sound[2 * rate : 9 * rate // 2] = 0
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        for tenth in range(80):
            picture = np.full((48, 64, 3), grey(tenth / 10), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            if not 20 <= tenth < 45:
                block = (sound[None, tenth * rate // 10 : (tenth + 1) * rate // 10] * 32_768).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
                frame.sample_rate, frame.pts = rate, tenth * rate // 10
                container.mux(audio.encode(frame))
        for stream in (video, audio):
            container.mux(stream.encode())
    return sound
