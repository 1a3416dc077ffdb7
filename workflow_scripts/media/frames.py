"""Picks the frames of a clip that are on screen at given times."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from workflow_scripts.errors import UserError, run
from workflow_scripts.media.streams import beginning, check_picture, picture
from workflow_scripts.settings.media import Bounds
from workflow_scripts.shards import ClipError, Reason, Status

# Times may lie this many seconds (or one frame, if longer) past the last frame, which is then repeated: as much as a
# clip may be shorter than asked and still be ok.
SLACK = 0.25
SAME = 0.002  # seconds between two readings of one frame's time


def times(seconds: float, count: int) -> np.ndarray:
    """The middles of `count` equal parts of `seconds`: t_i = (i + 0.5) * seconds / count, float64 (count,)."""
    return (np.arange(count) + 0.5) * seconds / count


def timestamps(path: Path, bounds: Bounds) -> tuple[np.ndarray, float]:
    """When each frame of a file appears, ascending, in seconds from the file's start, and when the last one ends.

    Read from the packets, without decoding. Raises `ClipError` (no_video_stream, decode_error, out_of_bounds).
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = picture(container)
            check_picture(stream, bounds)
            packets = [(p.pts, p.dts, p.duration) for p in container.demux(stream) if p.size and not p.is_discard]
            origin = beginning(container)
            tick = float(stream.time_base or 0)
    except av.FFmpegError as error:
        raise ClipError(Status.FAILED, Reason.DECODE, str(error)) from None
    if not packets:
        raise ClipError(Status.FAILED, Reason.DECODE, "the video stream is empty")
    shown = sorted((dts if pts is None else pts) or 0 for pts, dts, _ in packets)
    steps = [b - a for a, b in pairwise(shown)]
    last = packets[-1][2] or (float(np.median(steps)) if steps else 0)
    return np.asarray(shown) * tick - origin, (shown[-1] + last) * tick - origin


def in_memory(shape: tuple[int, ...]) -> np.ndarray:
    """Room for frames (n, h, w, 3)."""
    return np.empty(shape, np.uint8)


def read(
    path: Path,
    at: Sequence[float] | np.ndarray,
    size: int | None = None,
    bounds: Bounds | None = None,
    room: Callable[[tuple[int, ...]], np.ndarray] = in_memory,
) -> np.ndarray:
    """The frames on screen at the times `at` (ascending, seconds from the file's start): uint8 (n, h, w, 3), RGB.

    Each is the last frame that appears at or before its time (before the first frame, the first one). With `size`
    frames are resized to size x size pixels, by area. `room` makes the array, which may lie in a file: beside it one
    frame is held at a time. Raises `ClipError` (no_video_stream, decode_error, and
    too_short when a time lies more than a frame or `SLACK` past the end).
    """
    import cv2

    appears, end = timestamps(path, bounds or Bounds())
    slack = max(SLACK, end - appears[-1])
    if len(at) and at[-1] > end + slack:
        raise ClipError(
            Status.FAILED, Reason.TOO_SHORT, f"no frame at {at[-1]:.2f} s, the last one ends at {end:.2f} s"
        )
    # Half a microsecond: the same instant written as a decimal and as a fraction must compare equal.
    wanted = np.maximum(np.searchsorted(appears, np.asarray(at) + 5e-7, side="right") - 1, 0)
    if not len(wanted):
        return room((0, size or 0, size or 0, 3))
    shown, places = np.unique(wanted, return_inverse=True)

    def finished(image: np.ndarray) -> np.ndarray:
        small = image if size is None else cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        return cv2.cvtColor(small, cv2.COLOR_BGR2RGB)

    for pictures in (by_opencv, by_pyav):  # OpenCV is quicker, but has fewer decoders
        done = 0
        for image in pictures(path, appears, shown):
            frame = finished(image)
            if not done:
                found = room((len(places), *frame.shape))
            found[places == done] = frame
            done += 1
        if done == len(shown):
            return found
    raise ClipError(Status.FAILED, Reason.DECODE, f"frame {shown[done]} of {len(appears)} does not decode")


def by_opencv(path: Path, appears: np.ndarray, shown: np.ndarray) -> Iterator[np.ndarray]:
    """The pictures (h, w, 3), BGR, of the frames with the numbers `shown`, ascending, until one is not where it should.

    `appears` is when each frame of the file appears, seconds.
    """
    import cv2

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        position = -1
        for index in shown:
            while position < index and capture.grab():
                position += 1
            off = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 - (appears[index] - appears[0])
            image = capture.retrieve()[1] if position == index and abs(off) < SAME else None
            if image is None:
                return
            yield image
    finally:
        capture.release()


def by_pyav(path: Path, appears: np.ndarray, shown: np.ndarray) -> Iterator[np.ndarray]:
    """The same, in formats that OpenCV has no decoder for."""
    import av

    left = list(shown)
    try:
        with av.open(str(path)) as container:
            stream, origin = picture(container), beginning(container)
            for frame in container.decode(stream):
                if left and frame.time is not None and abs(frame.time - origin - appears[left[0]]) < SAME:
                    turned = frame.rotation // 90 if frame.rotation % 90 == 0 else 0  # as OpenCV turns it upright
                    yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="bgr24"), turned))
                    del left[0]
    except av.FFmpegError as error:
        raise ClipError(Status.FAILED, Reason.DECODE, str(error)) from None


def sheet(frames: np.ndarray) -> np.ndarray:
    """Frames (n, h, w, 3) side by side in a near-square grid: (rows * h, columns * w, 3)."""
    count, height, width, _ = frames.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = np.zeros((rows * columns, height, width, 3), np.uint8)
    grid[:count] = frames
    return grid.reshape(rows, columns, height, width, 3).swapaxes(1, 2).reshape(rows * height, columns * width, 3)


def main(
    clip: Annotated[Path, typer.Argument(help="a media file")],
    output: Annotated[Path, typer.Option(help="the picture to write, .png or .jpg")],
    count: Annotated[int, typer.Option(help="number of frames")] = 16,
    size: Annotated[int, typer.Option(help="pixels of a frame's sides")] = 160,
) -> None:
    """Writes a contact sheet of a clip: evenly spaced frames, row by row."""
    import cv2

    try:
        frames = read(clip, times(timestamps(clip, Bounds())[1], count), size)
    except ClipError as error:
        raise UserError(f"{clip}: {error}") from None
    output.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(output), cv2.cvtColor(sheet(frames), cv2.COLOR_RGB2BGR)):
        raise UserError(f"{output}: cannot be written")


if __name__ == "__main__":
    run(lambda: typer.run(main))
