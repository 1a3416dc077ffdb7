"""Films that stages read: noise that no encoder can leave out, and sound of two channels."""

from fractions import Fraction
from pathlib import Path

import numpy as np

RATE = 44_100


def sound(seconds: float, random: np.random.Generator) -> np.ndarray:
    """Some tones and noise below 8 kHz, float32 (2, samples), the channels alike."""
    from scipy.signal import butter, sosfilt

    times = np.arange(round(seconds * RATE)) / RATE
    tones = sum(0.1 * np.sin(2 * np.pi * pitch * times) for pitch in random.uniform(100, 4000, 4))
    noise = 0.05 * sosfilt(butter(8, 8000, fs=RATE, output="sos"), random.normal(size=(2, len(times))))
    return (tones + noise).astype(np.float32)


def pictures(width: int, height: int, fps: int, seconds: float, random: np.random.Generator) -> list[np.ndarray]:
    """A moving gradient under noise, uint8 (height, width, 3) each."""
    across, down = np.arange(width)[None, :, None], np.arange(height)[:, None, None]
    moving = ((across + down + 4 * n) % 256 + np.array([0, 40, 80]) for n in range(round(fps * seconds)))
    noisy = (base + 12 * random.standard_normal((height, width, 3), np.float32) for base in moving)
    return [np.clip(picture, 0, 255).astype(np.uint8) for picture in noisy]


def write(path: Path, samples: np.ndarray | None, frames: list[np.ndarray], fps: int) -> None:
    """An mp4 of H.264 and AAC, with B frames as sites have them."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "23", "bf": "2"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        audio = None
        if samples is not None:
            audio = container.add_stream("aac", rate=RATE, layout="stereo", options={"aac_pns": "0"})
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None and samples is not None:
            heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout="stereo")
            heard.sample_rate, heard.pts = RATE, 0
            container.mux(audio.encode(heard))
            container.mux(audio.encode())
