"""How much sound and picture a media file truly holds: measured by decoding it, because headers promise anything."""

from fractions import Fraction
from pathlib import Path

from workflow_scripts.media.streams import (
    beginning,
    check_picture,
    check_seconds,
    check_sound,
    silence_before,
    video_stream,
)
from workflow_scripts.settings.download import Download
from workflow_scripts.settings.media import Bounds
from workflow_scripts.shards import ClipError, Reason, Row, Status

MISSING = {"audio": Reason.NO_AUDIO, "video": Reason.NO_VIDEO}


def measure(path: Path, bounds: Bounds) -> dict[str, float]:
    """Decoded seconds by kind of stream: `audio`, `video`, or neither. Holes in the sound count as silence.

    Raises `ClipError` for a file that does not decode without faults (decode_error), or is out of bounds.
    """
    import av

    seconds: dict[str, float] = {}
    try:
        with av.open(str(path)) as container:
            audio = next(iter(container.streams.audio), None)
            video = video_stream(container)
            if audio is not None:
                check_sound(audio, bounds)
                seconds["audio"] = 0.0
            if video is not None:
                check_picture(video, bounds)
                seconds["video"] = 0.0
            origin = beginning(container)
            first_picture: float | None = None
            for packet in container.demux(*[stream for stream in (audio, video) if stream]):
                check_seconds(max(seconds.values()), bounds)
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame):
                        seconds["audio"] += silence_before(frame, origin, seconds["audio"])
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


def streams(path: Path, bounds: Bounds) -> list[str]:
    """The kinds of streams that a file's header names.

    Raises `ClipError` where there is none (decode_error), or one is out of bounds.
    """
    import av

    try:
        with av.open(str(path)) as container:
            audio, video = next(iter(container.streams.audio), None), video_stream(container)
            if audio is not None:
                check_sound(audio, bounds)
            if video is not None:
                check_picture(video, bounds)
            return ["audio"] * (audio is not None) + ["video"] * (video is not None)
    except av.FFmpegError as error:
        raise ClipError(Status.FAILED, Reason.DECODE, error.strerror or type(error).__name__) from None


def shortest(measured: dict[str, float], settings: Download) -> float:
    """Seconds of the shortest wanted stream; a file without any stream (nothing in the section) has 0."""
    for stream in settings.streams:
        if measured and stream not in measured:
            raise ClipError(Status.FAILED, MISSING[stream], f"there is only {' and '.join(measured)}")
    return min((measured[stream] for stream in settings.streams if measured), default=0.0)


def asked(row: Row) -> float | None:
    """The seconds that a manifest row asks for; None: all there are from its start."""
    return None if row["end"] is None else row["end"] - (row["start"] or 0.0)


def check_length(seconds: float, row: Row, settings: Download, confirmed: bool = False) -> None:
    """Raises `ClipError` if a clip's decoded length is not the asked one, within the tolerance.

    Where the source may be over before the clip's end (`may_end_early`), what is shorter is well once it is
    `confirmed`: a broken connection gives a shorter clip too.
    """
    wanted = asked(row)
    early = confirmed and row.get("may_end_early")
    if seconds == 0 or (wanted is not None and seconds < wanted - settings.tolerance and not early):
        promised = "" if wanted is None else f" instead of {wanted:.3f} s"
        raise ClipError(Status.FAILED, Reason.TOO_SHORT, f"{seconds:.3f} s{promised}")
    if wanted is not None and seconds > wanted + settings.tolerance:
        raise ClipError(Status.FAILED, Reason.CUT_FAILED, f"{seconds:.3f} s instead of {wanted:.3f} s")
