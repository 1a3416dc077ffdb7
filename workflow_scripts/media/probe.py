"""How much sound and picture a media file truly holds: measured by decoding it, because headers promise anything."""

from fractions import Fraction
from pathlib import Path

from workflow_scripts.media.streams import video_stream
from workflow_scripts.shards import ClipError, Reason, Status


def measure(path: Path) -> dict[str, float]:
    """Decoded seconds by kind of stream: `audio`, `video`, or neither.

    Raises `ClipError` (decode_error) for a file that does not decode without faults.
    """
    import av

    seconds: dict[str, float] = {}
    try:
        with av.open(str(path)) as container:
            audio = next(iter(container.streams.audio), None)
            video = video_stream(container)
            seconds |= {} if audio is None else {"audio": 0.0}
            seconds |= {} if video is None else {"video": 0.0}
            first_picture: float | None = None
            for packet in container.demux(*[stream for stream in (audio, video) if stream]):
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame):
                        seconds["audio"] += frame.samples / frame.sample_rate
                    elif isinstance(frame, av.VideoFrame) and frame.time is not None and video is not None:
                        if frame.is_corrupt:
                            raise ClipError(Status.FAILED, Reason.DECODE, f"corrupt picture at {frame.time:.2f} s")
                        first_picture = frame.time if first_picture is None else first_picture
                        shown = frame.duration * (frame.time_base or Fraction(0)) or 1 / (video.average_rate or 25)
                        seconds["video"] = frame.time + float(shown) - first_picture
    except av.FFmpegError as error:
        raise ClipError(Status.FAILED, Reason.DECODE, error.strerror or type(error).__name__) from None
    return seconds
