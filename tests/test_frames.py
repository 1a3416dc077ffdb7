"""Frames by time: the grey of each frame says when it appears."""

import subprocess
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from media_files import grey, write_movie

from workflow_scripts.errors import UserError
from workflow_scripts.media import frames
from workflow_scripts.shards import ClipError, Reason


def greys(pictures: np.ndarray) -> np.ndarray:
    return pictures.mean(axis=(1, 2, 3))


def ffmpeg(*arguments: object) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_movie(tmp_path_factory.mktemp("movie") / "a.mp4", 2.5)


@given(seconds=st.floats(0.1, 100), count=st.integers(1, 200))
def test_times_are_the_middles_of_equal_parts(seconds: float, count: int) -> None:
    at = frames.times(seconds, count)
    assert len(at) == count
    np.testing.assert_allclose(at + at[::-1], seconds)  # symmetric about the middle
    np.testing.assert_allclose(np.diff(at), seconds / count)
    assert frames.times(10, 151)[0] == pytest.approx(5 / 151)


def test_the_frame_on_screen_is_picked(movie: Path) -> None:
    at = [0.0, 0.04, 0.1, 0.19, 0.2, 0.55, 0.55, 1.2, 2.49]
    pictures = frames.read(movie, at)
    assert pictures.shape == (9, 48, 64, 3)
    assert pictures.dtype == np.uint8
    expected = [grey(t) for t in (0, 0, 0.1, 0.1, 0.2, 0.5, 0.5, 1.2, 2.4)]
    np.testing.assert_allclose(greys(pictures), expected, atol=3)


def test_more_times_than_frames_repeat_them(movie: Path) -> None:
    found = greys(frames.read(movie, frames.times(2.5, 100)))
    np.testing.assert_allclose(found, np.repeat([grey(i / 10) for i in range(25)], 4), atol=3)


def test_frames_at_uneven_times(tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "a.mp4", sound=None, pts=[0, 3, 10, 50, 52, 90, 140])
    found = greys(frames.read(movie, [0.02, 0.05, 0.3, 0.505, 0.6, 1.3, 1.41]))
    np.testing.assert_allclose(found, [grey(t) for t in (0, 0.03, 0.1, 0.5, 0.52, 0.9, 1.4)], atol=3)


@pytest.mark.parametrize("options", [["-c", "copy"], []], ids=["copied", "encoded"])
def test_cut_files_count_from_their_own_start(movie: Path, tmp_path: Path, options: list[str]) -> None:
    ffmpeg("-ss", 1.0, "-i", movie, "-t", 1.0, *options, tmp_path / "cut.mp4")
    found = greys(frames.read(tmp_path / "cut.mp4", np.arange(0.05, 0.9, 0.1)))
    np.testing.assert_allclose(found, [grey(1 + i / 10) for i in range(9)], atol=3)


def test_a_file_whose_first_timestamp_is_not_zero(movie: Path, tmp_path: Path) -> None:
    ffmpeg("-i", movie, "-c", "copy", "-output_ts_offset", 5, tmp_path / "later.ts")
    found = greys(frames.read(tmp_path / "later.ts", [0.15, 1.05, 2.05]))
    np.testing.assert_allclose(found, [grey(t) for t in (0.1, 1.0, 2.0)], atol=9)  # the sound starts a little before


def test_a_picture_that_begins_after_the_sound_keeps_its_time(movie: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.mp4"
    ffmpeg("-i", movie, "-itsoffset", 0.5, "-i", movie, "-map", "0:a", "-map", "1:v", "-c", "copy", late)
    found = greys(frames.read(late, [0.1, 0.55, 1.05, 2.05]))
    np.testing.assert_allclose(found, [grey(t) for t in (0, 0, 0.5, 1.5)], atol=3)


def test_the_last_frame_lasts_a_little_longer(movie: Path) -> None:
    assert greys(frames.read(movie, [2.7]))[0] == pytest.approx(grey(2.4), abs=3)
    with pytest.raises(ClipError) as caught:
        frames.read(movie, [0.1, 2.8])
    assert caught.value.reason is Reason.TOO_SHORT
    assert caught.value.detail == "no frame at 2.80 s, the last one ends at 2.50 s"


def test_sizes_and_colours(tmp_path: Path) -> None:
    red = tmp_path / "red.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=red:size=96x64:duration=0.5:rate=10", red)
    pictures = frames.read(red, [0.1, 0.3], size=32)
    assert pictures.shape == (2, 32, 32, 3)
    np.testing.assert_allclose(pictures.mean(axis=(0, 1, 2)), [254, 0, 0], atol=4)
    assert frames.read(red, [], size=32).shape == (0, 32, 32, 3)


def test_what_has_no_frames_says_why(tmp_path: Path, movie: Path) -> None:
    junk = tmp_path / "junk.mp4"
    junk.write_bytes(b"junk" * 1000)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(movie.read_bytes()[:9000])
    cases = {
        write_movie(tmp_path / "blind.mp4", 1, picture=False): Reason.NO_VIDEO,
        junk: Reason.DECODE,
        cut: Reason.DECODE,
    }
    for path, reason in cases.items():
        with pytest.raises(ClipError) as caught:
            frames.read(path, [0.1])
        assert caught.value.reason is reason


def test_a_contact_sheet(movie: Path, tmp_path: Path) -> None:
    frames.main(movie, tmp_path / "new" / "sheet.png", count=5, size=20)
    picture = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    assert picture is not None
    assert picture.shape == (40, 60, 3)
    corners = [picture[y + 10, x + 10].mean() for y in (0, 20) for x in (0, 20, 40)]
    np.testing.assert_allclose(corners, [*(grey(t) for t in (0.2, 0.7, 1.2, 1.7, 2.2)), 0], atol=3)
    with pytest.raises(UserError, match="no_video_stream"):
        frames.main(write_movie(tmp_path / "blind.mp4", 1, picture=False), tmp_path / "sheet.png")


def test_a_film_that_opencv_does_not_decode(movie: Path, tmp_path: Path) -> None:
    at = [0.04, 0.5, 0.55, 1.2, 2.49]
    ffmpeg("-i", movie, "-an", "-c:v", "libsvtav1", "-preset", "10", "-crf", "20", tmp_path / "av1.mp4")
    np.testing.assert_allclose(greys(frames.read(tmp_path / "av1.mp4", at)), greys(frames.read(movie, at)), atol=3)


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_films_are_turned_upright_whatever_decodes_them(angle: int, tmp_path: Path) -> None:
    write_movie(tmp_path / "a.mp4", 0.5)
    corner = "drawbox=0:0:16:16:white:fill"
    for codec, options in {"libx264": [], "libsvtav1": ["-preset", "10", "-crf", "20"]}.items():
        ffmpeg("-i", tmp_path / "a.mp4", "-an", "-vf", corner, "-c:v", codec, *options, tmp_path / f"{codec}.mp4")
        turned = ["-display_rotation", str(angle), "-i", tmp_path / f"{codec}.mp4"]
        ffmpeg(*turned, "-c", "copy", tmp_path / f"turned_{codec}.mp4")
    one, other = (frames.read(tmp_path / f"turned_{codec}.mp4", [0.1])[0] for codec in ("libx264", "libsvtav1"))
    assert one.shape == ((48, 64, 3) if angle % 180 == 0 else (64, 48, 3))
    np.testing.assert_allclose(one.astype(int), other, atol=40)
    corners = [one[y, x].mean() > 150 for y in (4, -5) for x in (4, -5)]
    assert corners.index(True) == {0: 0, 90: 2, 180: 3, 270: 1}[angle]
    assert sum(corners) == 1
