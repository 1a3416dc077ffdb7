"""Clips cut out of FLAC: to the sample, wherever they start, from files that one has and from links."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from workflow_scripts.media.audio import decode
from workflow_scripts.media.local import cut
from workflow_scripts.media.ydl import SOUND, Downloader
from workflow_scripts.settings.download import Download

RATE, SECONDS = 44_100, 61
SETTINGS = Download(streams=("audio",), videos_per_hour=None)
# After each, 0 to 16 samples are left of a frame of 4,096; 30 s is one of them, and 36 s and 50 s are others.
EDGES = [(4096 * frame - left) / RATE for frame in (100, 323) for left in (0, 1, 2, 8, 15, 16, 17, 4095)]
STARTS = [0.0, 0.5, 1.0, 3.0, 9.99, 10.0, 12.3, 17.0, 20.00001, 29.0, 30.0, 33.3, 36.0, 40.0, 49.5, 50.0, 55.0, *EDGES]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """A file, and its samples: int16 (samples,)."""
    samples = np.random.default_rng(0).integers(-9000, 9000, RATE * SECONDS).astype(np.int16)
    path = tmp_path_factory.mktemp("archive") / "source.flac"
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return path, samples


def heard(path: Path) -> np.ndarray:
    (channel,), rate = decode(path)
    assert rate == RATE
    return np.rint(channel * 32768).astype(np.int64)


def section(samples: np.ndarray, start: float, seconds: float) -> np.ndarray:
    first = round(start * RATE)
    return samples[first : first + round(seconds * RATE)].astype(np.int64)


@pytest.mark.parametrize("start", STARTS)
def test_a_cut_is_exact_wherever_it_starts(start: float, source: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    """A second, and all that is left of the source."""
    path, samples = source
    for number, seconds in enumerate((1.0, None)):
        if seconds is None and start < 49:
            continue
        row: dict[str, Any] = {"start": start, "end": None if seconds is None else start + seconds}
        folder = tmp_path / str(number)
        folder.mkdir()
        found = heard(cut(path, row, SETTINGS, folder))
        assert np.array_equal(found, section(samples, start, seconds or SECONDS))


def test_a_link_is_cut_with_equal_frames_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the same ffmpeg; where sound is not cut exactly, nothing is said of frames."""
    given = []

    def extract(self: Any, link: str, **_: Any) -> None:
        given.append(self.params["external_downloader_args"]["ffmpeg_o"])
        raise RuntimeError("no network")

    monkeypatch.setattr("yt_dlp.YoutubeDL.extract_info", extract)
    for exact in (True, False):
        settings = SETTINGS.model_copy(update={"force_keyframes_at_cuts": exact})
        with pytest.raises(Exception, match="no network"):
            Downloader(settings, tmp_path).download("https://site.test/a.flac", 30.0, 31.0, tmp_path)
    assert given[0][2:4] == SOUND and not set(SOUND) & set(given[1])
