"""Fetching clips: what is cut, joined and kept."""

import hashlib
import shutil
from pathlib import Path

import fetch_files
import numpy as np
import pytest
from cores import cores
from fetch_files import Corpus, state
from media_files import grey, pitch, write_holed, write_movie

from workflow_scripts.media.audio import decode
from workflow_scripts.media.fetch import check_length
from workflow_scripts.media.frames import read, times
from workflow_scripts.settings.download import Download
from workflow_scripts.shards import ClipError, Reason

movies, corpus = fetch_files.movies, fetch_files.corpus  # fixtures


def loudest_frequency(sound: np.ndarray, rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(sound))) * rate / len(sound))


def test_a_section_is_cut_exactly_and_is_the_right_one(corpus: Corpus) -> None:
    corpus.add("cut", "good.mp4", 2.0, 3.0)
    row = corpus.fetch()["cut"]
    assert state(row) == ("ok", None)
    assert row["seconds"] == pytest.approx(1.0, abs=0.03)
    path = corpus.store / row["path"]
    assert (row["path"], row["bytes"]) == ("files/cut.mp4", path.stat().st_size)
    assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (row["attempts"], row["fetched_at"][:2]) == (1, "20")
    sound, rate = decode(path)
    assert loudest_frequency(sound[0], rate) == pytest.approx(pitch(2), abs=2)
    greys = read(path, times(1, 10)).mean(axis=(1, 2, 3))
    assert np.allclose(greys, [grey(2 + i / 10) for i in range(10)], atol=3)


def test_a_cut_is_the_same_on_one_core_and_on_several(corpus: Corpus) -> None:
    write_movie(corpus.served / "large.mp4", 3, scale=4)  # small pictures are encoded by one thread in any case
    corpus.add("cut", "large.mp4", 1.0, 2.0)
    found = []
    for count in (1, 2):
        shutil.rmtree(corpus.store, ignore_errors=True)
        with cores(count):
            found.append(corpus.fetch()["cut"]["sha256"])
    assert found[0] == found[1]


@pytest.mark.parametrize("source", ["good.mp4", "blind.mp4", "blind.webm", "blind.wav", "split"])
def test_the_sound_of_a_cut_is_that_of_its_source(corpus: Corpus, source: str) -> None:
    corpus.add("cut", f"scripted/{source}" if source == "split" else source, 2.3, 3.8)
    row = corpus.fetch(streams=["audio"])["cut"]
    assert (*state(row), Path(row["path"]).suffix) == ("ok", None, ".mp4")
    whole, rate = decode(corpus.served / ("blind.mp4" if source == "split" else source))
    sound, kept = decode(corpus.store / row["path"])
    assert (kept, sound.shape[1]) == (rate, round(1.5 * rate))
    near = range(-rate // 1000, rate // 1000 + 1) if source == "blind.webm" else [0]  # WebM counts milliseconds
    first = round(2.3 * rate)
    errors = [np.abs(whole[:, first + lag : first + lag + sound.shape[1]] - sound).max() for lag in near]
    assert min(errors) <= 1 / 32768, "to the sample, and to the last bit"


def test_a_cut_keeps_the_times_of_a_sound_with_a_hole(corpus: Corpus) -> None:
    whole = write_holed(corpus.served / "holed.mkv")
    corpus.add("cut", "holed.mkv", 3.75, 7.75)  # from the middle of the hole
    row = corpus.fetch(streams=["audio"])["cut"]
    assert (*state(row), row["seconds"]) == ("ok", None, pytest.approx(4, abs=0.11))
    heard, rate = decode(corpus.store / row["path"])
    np.testing.assert_allclose(heard[0], whole[round(3.75 * rate) : round(7.75 * rate)], atol=1e-3)


def test_whole_files_and_open_ends(corpus: Corpus) -> None:
    corpus.add("whole", "good.mp4")
    corpus.add("from 4 s", "good.mp4", 4.0)
    corpus.add("first second", "good.mp4", 0.0, 1.0)
    rows = corpus.fetch()
    assert [row["seconds"] for row in rows.values()] == pytest.approx([6, 2, 1], abs=0.03)


def test_cuts_of_what_is_broken_short_or_not_there(corpus: Corpus) -> None:
    corpus.add("past the end", "good.mp4", 60, 62)
    corpus.add("over the end", "good.mp4", 5, 8)
    corpus.add("random", "random.mp4", 1, 2)
    corpus.add("scrambled", "scrambled.mp4", 1, 2)
    corpus.add("mute", "mute.mp4", 1, 2)
    corpus.add("not found", "404/good.mp4", 1, 2)
    rows = corpus.fetch()
    assert state(rows["past the end"]) == ("failed", "too_short")
    assert state(rows["over the end"]) == ("failed", "too_short")
    assert rows["over the end"]["detail"] == "1.000 s instead of 3.000 s"
    assert state(rows["random"]) == ("failed", "cut_failed")
    assert rows["scrambled"]["status"] == "failed"
    assert state(rows["mute"]) == ("failed", "no_audio_stream")
    assert state(rows["not found"]) == ("unavailable", "not_found")


def test_sound_and_picture_that_come_apart_are_cut_and_joined(corpus: Corpus) -> None:
    corpus.add("section", "scripted/split", 2, 3)
    corpus.add("whole", "scripted/split")
    rows = corpus.fetch()
    assert [row["seconds"] for row in rows.values()] == pytest.approx([1, 6], abs=0.03)
    path = corpus.store / rows["section"]["path"]
    assert path.suffix == ".mp4"
    sound, rate = decode(path)
    assert loudest_frequency(sound[0], rate) == pytest.approx(pitch(2), abs=2)
    assert read(path, [0.55]).mean() == pytest.approx(grey(2.5), abs=3)


def test_streams_that_nobody_wants_may_lack(corpus: Corpus) -> None:
    corpus.add("mute", "mute.mp4", 1, 2)
    assert state(corpus.fetch(streams=["video"])["mute"]) == ("ok", None)


@pytest.mark.parametrize(
    ("seconds", "end", "reason"),
    [
        (1.9, 3.0, None),
        (2.2, 3.0, None),
        (1.7, 3.0, Reason.TOO_SHORT),
        (2.3, 3.0, Reason.CUT_FAILED),
        (0.0, None, Reason.TOO_SHORT),
        (9.0, None, None),
    ],
)
def test_lengths_are_held_against_what_was_asked(seconds: float, end: float | None, reason: Reason | None) -> None:
    row = {"start": 1.0, "end": end}
    if reason is None:
        check_length(seconds, row, Download(tolerance=0.25))
    else:
        with pytest.raises(ClipError) as caught:
            check_length(seconds, row, Download(tolerance=0.25))
        assert caught.value.reason is reason


def test_a_connection_that_breaks_in_a_cut_does_not_make_a_short_clip(corpus: Corpus) -> None:
    corpus.add("cut", "breaks.mp4", 2, 6)
    row = corpus.fetch()["cut"]
    assert (*state(row), row["attempts"]) == ("ok", None, 2)
    assert row["seconds"] == pytest.approx(4, abs=0.03)


def test_same_named_files_do_not_collide(corpus: Corpus) -> None:
    corpus.add("a", "one/same.mp4")
    corpus.add("b", "two/same.mp4")
    rows = corpus.fetch()
    assert [rows["a"]["seconds"], rows["b"]["seconds"]] == pytest.approx([2, 3], abs=0.03)
