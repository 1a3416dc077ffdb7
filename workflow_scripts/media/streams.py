"""Which of a file's streams is its sound, and which its picture: for all that reads media."""

from typing import TYPE_CHECKING

from workflow_scripts.settings.media import Bounds
from workflow_scripts.shards import ClipError, Reason, Status

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

HOLE = 0.1  # seconds between two frames of sound that are no rounding of their times; ffmpeg's own measure
MOST_SILENCE = 3600.0  # seconds


def video_stream(container: "InputContainer") -> "VideoStream | None":
    """The first video stream that is no cover picture, or None."""
    from av.stream import Disposition

    return next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)


def picture(container: "InputContainer") -> "VideoStream":
    """Like `video_stream`; raises `ClipError` (no_video_stream) where there is none."""
    if (stream := video_stream(container)) is None:
        raise ClipError(Status.FAILED, Reason.NO_VIDEO)
    return stream


def beginning(container: "InputContainer") -> float:
    """The time at which a file starts, in seconds: that of its first sound or picture."""
    import av

    return float((container.start_time or 0) / av.time_base)


def check_sound(stream: "AudioStream", bounds: Bounds) -> None:
    """Raises `ClipError` (out_of_bounds) for a rate or number of channels that no recording has."""
    rate, channels = stream.rate or 0, len(stream.layout.channels)
    if rate < bounds.lowest_rate:
        raise ClipError(Status.FAILED, Reason.BOUNDS, f"{rate} Hz; bounds.lowest_rate is {bounds.lowest_rate}")
    if channels > bounds.channels:
        raise ClipError(Status.FAILED, Reason.BOUNDS, f"{channels} channels; bounds.channels is {bounds.channels}")


def check_picture(stream: "VideoStream", bounds: Bounds) -> None:
    """Raises `ClipError` (out_of_bounds) for pictures that are too large; later ones that are do not decode."""
    if stream.width * stream.height > bounds.pixels:
        told = f"{stream.width} x {stream.height} pixels; bounds.pixels is {bounds.pixels}"
        raise ClipError(Status.FAILED, Reason.BOUNDS, told)
    stream.codec_context.options = {"max_pixels": str(bounds.pixels)}


def silence_before(frame: "AudioFrame", origin: float, heard: float) -> float:
    """The seconds without sound between what was `heard` so far, in seconds, and a frame, by its time.

    `origin` is the file's `beginning`. Raises `ClipError` (decode_error) where the time jumps by hours.
    """
    silence = 0.0 if frame.time is None else frame.time - origin - heard
    if silence > MOST_SILENCE:
        raise ClipError(Status.FAILED, Reason.DECODE, f"its time jumps by {silence:.0f} s")
    return silence if silence > (HOLE if heard else 0) else 0.0


def check_seconds(seconds: float, bounds: Bounds) -> None:
    """Raises `ClipError` (out_of_bounds) for what lasts too long."""
    if seconds > bounds.hours * 3600:
        raise ClipError(Status.FAILED, Reason.BOUNDS, f"longer than bounds.hours, {bounds.hours:g} h")
