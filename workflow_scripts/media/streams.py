"""Which of a file's streams is its sound, and which its picture: for all that reads media."""

from typing import TYPE_CHECKING

from workflow_scripts.settings.media import Bounds
from workflow_scripts.shards import ClipError, Reason, Status

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream


def video_stream(container: "InputContainer") -> "VideoStream | None":
    """The first video stream that is no cover picture, or None."""
    from av.stream import Disposition

    return next((s for s in container.streams.video if not s.disposition & Disposition.attached_pic), None)


def picture(container: "InputContainer") -> "VideoStream":
    """Like `video_stream`; raises `ClipError` (no_video_stream) where there is none."""
    if (stream := video_stream(container)) is None:
        raise ClipError(Status.FAILED, Reason.NO_VIDEO)
    return stream


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


def check_seconds(seconds: float, bounds: Bounds) -> None:
    """Raises `ClipError` (out_of_bounds) for what lasts too long."""
    if seconds > bounds.hours * 3600:
        raise ClipError(Status.FAILED, Reason.BOUNDS, f"longer than bounds.hours, {bounds.hours:g} h")
