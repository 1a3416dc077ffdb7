"""Files that declare too much of themselves, samples that are no numbers, and memory by clip."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
import requests
import soundfile
from media_files import tone, write_movie

from workflow_scripts.corpora.annotate import MANIFEST, manifest
from workflow_scripts.media import audio, frames, server
from workflow_scripts.media.fetch import SCHEMA
from workflow_scripts.media.plan import DecodeAudio, FetchClips
from workflow_scripts.settings.media import Audio, Bounds
from workflow_scripts.shards import ClipError, Row, read, write


def sounds(folder: Path) -> dict[str, Path]:
    """Odd sounds by what is odd about them."""
    made = {
        "one hertz": (np.ones(20, np.float32) / 2, 1),
        "channels": (np.tile(tone(0.1, 8000)[:, None], (1, 65)), 8000),
        "long": (tone(7, 8000), 8000),
        "nan": (np.where(np.arange(8000) == 99, np.nan, tone(1, 8000)).astype("f4"), 8000),
        "inf": (np.where(np.arange(8000) == 99, np.inf, tone(1, 8000)).astype("f4"), 8000),
        "fine": (tone(1, 8000), 8000),
    }
    for name, (sound, rate) in made.items():
        soundfile.write(folder / f"{name}.wav", sound, rate, "FLOAT")
    return {name: folder / f"{name}.wav" for name in made}


def test_sounds_out_of_bounds_are_told(tmp_path: Path) -> None:
    files = sounds(tmp_path)
    write(tmp_path / "c.parquet", [{"clip_id": n, "path": f.name, "status": "ok"} for n, f in files.items()], SCHEMA)
    settings = {"sample_rate": 8000, "clip_seconds": 1}
    job = DecodeAudio(clips=tmp_path / "c.parquet", store=tmp_path, audio=settings, bounds={"hours": 6 / 3600})
    job.run(tmp_path / "0.parquet")
    rows = {row["clip_id"]: row for row in read(tmp_path / "0.parquet")}
    assert {name: (row["reason"], row["detail"]) for name, row in rows.items()} == {
        "one hertz": ("out_of_bounds", "1 Hz; bounds.lowest_rate is 1000"),
        "channels": ("out_of_bounds", "65 channels; bounds.channels is 64"),
        "long": ("out_of_bounds", "longer than bounds.hours, 0.00166667 h"),
        "nan": ("decode_error", "samples that are no numbers"),
        "inf": ("decode_error", "samples that are no numbers"),
        "fine": (None, None),
    }


def test_fetched_files_out_of_bounds_are_told(tmp_path: Path) -> None:
    """Pictures of 20,000 pixels a side are not decoded."""
    (tmp_path / "media").mkdir()
    sounds(tmp_path / "media")
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "lavfi", "-i"]
    large = ["color=black:s=20000x2000:d=0.1:r=10", "-c:v", "ffv1", str(tmp_path / "media/large.mkv")]
    subprocess.run([*ffmpeg, *large], check=True)
    write_movie(tmp_path / "media/small.mp4", 1)

    def fetch(streams: list[str], names: list[str], end: float | None = None) -> dict[str, str | None]:
        rows: list[Row] = [
            {"clip_id": n.split(".")[0], "video_id": n, "start": 0.0, "end": end, "split": "train"} for n in names
        ]
        write(tmp_path / "m.parquet", manifest(lambda: rows, None, names=["{video_id}"]), MANIFEST)
        own: dict[str, Any] = {"folder": tmp_path / "media", "archive": {"folder": "media", "names": ["{video_id}"]}}
        job = FetchClips(
            manifest=tmp_path / "m.parquet", store=tmp_path / "s", download={"streams": streams}, **own,
            bounds={"hours": 6 / 3600, "pixels": 30_000_000},
        )  # fmt: skip
        job.run(tmp_path / "0.parquet")
        return {row["clip_id"]: row["reason"] for row in read(tmp_path / "0.parquet")}

    assert fetch(["audio"], ["one hertz.wav", "channels.wav", "long.wav", "fine.wav"]) == {
        "one hertz": "out_of_bounds", "channels": "out_of_bounds", "long": "out_of_bounds", "fine": None,
    }  # fmt: skip
    assert fetch(["video"], ["large.mkv", "small.mp4"]) == {"large": "out_of_bounds", "small": None}
    assert fetch(["video"], ["large.mkv"], end=0.05) == {"large": "out_of_bounds"}, "nor cut"
    with pytest.raises(ClipError, match="20000 x 2000 pixels"):
        frames.read(tmp_path / "media/large.mkv", [0.0], bounds=Bounds())


@pytest.mark.parametrize("resampler", ["soxr_hq", "soxr_vhq", "sinc", "polyphase"])
@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 16_000])
def test_the_start_of_a_long_sound_is_as_of_the_whole_one(tmp_path: Path, resampler: Any, rate: int) -> None:
    sound = np.random.default_rng(0).normal(scale=0.1, size=rate * 4 + 17).astype("f4")
    soundfile.write(tmp_path / "a.wav", sound, rate, "FLOAT")
    settings = Audio(sample_rate=16_000, clip_seconds=1, resampler=resampler)
    clip, seconds = audio.read_clip(tmp_path / "a.wav", settings, Bounds())
    whole = audio.read_mono(tmp_path / "a.wav", 16_000, resampler)
    assert seconds == len(whole) / 16_000
    np.testing.assert_array_equal(clip, np.clip(np.rint(whole[:16_000] * 32768), -32768, 32767))


def test_memory_holds_what_is_kept_of_a_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((8000 * 600, 2), np.int16) + 999, 8000)
    tracemalloc.start()
    try:
        _, seconds = audio.read_clip(tmp_path / "a.wav", Audio(sample_rate=8000, clip_seconds=1), Bounds())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds == 600
    assert peak < 4_000_000, "not the 38 MB of ten minutes in two channels"


def test_what_is_no_file_or_no_sound_is_told_once_and_stops_nothing(tmp_path: Path) -> None:
    """Own files are read, not asked: no reason passes, nobody waits, and a pipe that nobody writes to is not opened."""
    folder = tmp_path / "media"
    (folder / "folder.wav").mkdir(parents=True)
    os.mkfifo(folder / "pipe.wav")
    (folder / "dangling.wav").symlink_to(tmp_path / "nowhere")
    movie = write_movie(tmp_path / "movie.mp4", 2).read_bytes()
    (folder / "truncated.wav").write_bytes(movie[: len(movie) // 2])
    (folder / "text.wav").write_text("<html>not found</html>")
    (folder / "header.wav").write_bytes(b"RIFF")
    (folder / "zeros.wav").write_bytes(bytes(5000))
    (folder / "empty.wav").touch()
    soundfile.write(folder / "fine.wav", tone(1, 8000), 8000)
    soundfile.write(tmp_path / "elsewhere.wav", tone(1, 8000), 8000)
    (folder / "link.wav").symlink_to(tmp_path / "elsewhere.wav")
    names = sorted(path.stem for path in folder.iterdir())
    rows = [{"clip_id": n, "video_id": n, "start": 0.0, "end": None, "split": "train"} for n in names]
    write(tmp_path / "m.parquet", manifest(lambda: rows, "{video_id}.wav"), MANIFEST)
    command = [sys.executable, "-m", "workflow_scripts.media.fetch", "--manifest", str(tmp_path / "m.parquet")]
    command += ["--store", str(tmp_path / "s"), "--output", str(tmp_path / "0.parquet"), "--serve", str(folder)]
    definition = ["--definition", '{"streams": ["audio"], "retry_wait": 3600, "give_up_after": 1}']
    done = subprocess.run([*command, *definition], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {row["clip_id"]: row["reason"] for row in read(tmp_path / "0.parquet")}
    missing = dict.fromkeys(["folder", "pipe", "dangling"], "not_found")
    broken = dict.fromkeys(["truncated", "text", "header", "zeros", "empty"], "decode_error")
    assert found == missing | broken | {"fine": None, "link": None}


def test_the_server_follows_links_that_stay_in_its_folder(tmp_path: Path) -> None:
    """Links that lead in a circle, or out of the folder by way of another link, are not there."""
    folder = tmp_path / "in"
    (folder / "real").mkdir(parents=True)
    (folder / "real/a.bin").write_bytes(b"inside")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/a.bin").write_bytes(b"secret")
    for name, target in {"file": folder / "real/a.bin", "folder": folder / "real", "out": tmp_path / "secret"}.items():
        (folder / name).symlink_to(target)
    (folder / "far").symlink_to(folder / "out/a.bin")
    (folder / "self").symlink_to(folder / "self")
    (folder / "real/up").symlink_to(folder)
    with server.serve(folder) as base:
        for name in ("file", "folder/a.bin", "real/up/real/up/file"):
            assert requests.get(base + name, timeout=9).content == b"inside"
        for name in ("out/a.bin", "far", "self", "self/a.bin", "folder"):
            assert requests.get(base + name, timeout=9).status_code == 404
