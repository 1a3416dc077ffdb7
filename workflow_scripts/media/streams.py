"""Which of a file's streams is its sound, and which its picture: for all that reads media."""

from typing import TYPE_CHECKING

from workflow_scripts.shards import ClipError, Reason, Status

if TYPE_CHECKING:
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
