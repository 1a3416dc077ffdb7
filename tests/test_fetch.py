"""Downloads with the real yt-dlp and ffmpeg from a loopback server with scripted faults."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scripted_site  # noqa: F401 - yt-dlp knows it from then on
from media_files import grey, pitch, write_movie

from workflow_scripts.errors import UserError
from workflow_scripts.media import fetch, server
from workflow_scripts.media.audio import decode
from workflow_scripts.media.fetch import check_length
from workflow_scripts.media.frames import read, times
from workflow_scripts.media.plan import FetchClips
from workflow_scripts.media.probe import measure
from workflow_scripts.settings.download import Download
from workflow_scripts.settings.media import Bounds
from workflow_scripts.shards import ClipError, Reason, Row, Status, shard_of

FAST = {"min_share": 0, "videos_per_hour": None, "retry_wait": 0.01, "retries": 2, "timeout": 5, "give_up_after": 50}
MANIFEST = pa.schema(
    [(name, pa.string()) for name in ("clip_id", "link")]
    + [("start", pa.float64()), ("end", pa.float64())]
    + [(name, pa.string()) for name in ("status", "reason", "detail", "split")]
)


class Site(server.Handler):
    """The served folder, with a fault for each folder name below it; every request is counted by its path."""

    asked: Counter[str]

    def send(self, path: Path, start: int, end: int) -> None:
        if path.name == "breaks.mp4" and self.asked[path.name] <= 2:  # yt-dlp's look at it, and ffmpeg's first
            end, self.close_connection = min(end, path.stat().st_size * 2 // 3), True
        super().send(path, start, end)

    def answer(self, body: bool) -> None:
        path = self.path.lstrip("/")
        self.asked[path] += 1
        fault, _, name = path.partition("/")
        if fault.isdigit():  # /429/a.mp4 is always refused
            self.send_error(HTTPStatus(int(fault)))
        elif fault == "flaky" and self.asked[path] == 1:
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
        elif fault == "slow" and body:
            time.sleep(0.15)
            self.path = name
            super().answer(body)
        elif fault == "stall" and body:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(bytes.fromhex("00000018667479706d703432") + bytes(2000))
            time.sleep(3)
            self.close_connection = True
        else:
            self.path = name if fault in ("flaky", "slow") else path
            super().answer(body)


class Corpus:
    """A manifest to write, a site to ask, and a store to fill."""

    def __init__(self, folder: Path, served: Path, base: str, asked: Counter[str]) -> None:
        self.served = served
        self.folder, self.base, self.asked, self.rows = folder, base, asked, list[Row]()

    def add(self, clip_id: str, link: str, start: float | None = None, end: float | None = None, **other: Any) -> None:
        link = link if "://" in link else self.base + link
        state = {"status": Status.OK, "reason": None, "detail": None, "split": "train"}
        self.rows.append({"clip_id": clip_id, "link": link, "start": start, "end": end, **state, **other})

    @property
    def manifest(self) -> Path:
        path = self.folder / "manifest.parquet"
        pq.write_table(pa.Table.from_pylist(self.rows, schema=MANIFEST), path)
        return path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def journal(self, shard: int = 0) -> list[Row]:
        return list(map(json.loads, (self.store / f"journal-{shard}.jsonl").read_text().splitlines()))

    def fetch(self, shard: int = 0, shards: int = 1, **settings: Any) -> dict[str, Row]:
        output = self.folder / "clips" / f"{shard}.parquet"
        chosen = FAST | settings
        FetchClips(manifest=self.manifest, download=chosen, shard=shard, shards=shards, store=self.store).run(output)
        rows = pq.read_table(output).to_pylist()
        assert [row["clip_id"] for row in rows] == [
            row["clip_id"] for row in self.rows if shard_of(row["clip_id"], shards) == shard
        ]
        return {row["clip_id"]: row for row in rows}


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources: movies that tell the time, mute ones, ones without a picture, and broken ones."""
    folder = tmp_path_factory.mktemp("served")
    good = write_movie(folder / "good.mp4").read_bytes()
    write_movie(folder / "mute.mp4", sound=None)
    write_movie(folder / "blind.mp4", picture=False)
    write_movie(folder / "one" / "same.mp4", 2)
    write_movie(folder / "two" / "same.mp4", 3)
    rng = np.random.default_rng(0)
    faststart = ["-c", "copy", "-movflags", "faststart"]
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i"]
    subprocess.run([*ffmpeg, str(folder / "good.mp4"), *faststart, str(folder / "breaks.mp4")], check=True)
    for other in ("blind.webm", "blind.wav"):
        subprocess.run([*ffmpeg, str(folder / "blind.mp4"), str(folder / other)], check=True)
    (folder / "random.mp4").write_bytes(rng.bytes(20_000))
    (folder / "truncated.mp4").write_bytes(good[: len(good) // 2])
    body = np.frombuffer(good, np.uint8).copy()
    body[2_000 : len(body) // 2] = rng.integers(0, 256, len(body) // 2 - 2_000)
    (folder / "scrambled.mp4").write_bytes(body.tobytes())
    (folder / "empty.mp4").touch()
    return folder


@contextmanager
def site(folder: Path) -> Iterator[tuple[str, Counter[str]]]:
    """Serves the folder with faults; gives the base URL and the counts of requests."""
    asked: Counter[str] = Counter()
    with server.serve(folder, type("CountingSite", (Site,), {"asked": asked})) as base:
        yield base, asked


@pytest.fixture
def corpus(tmp_path: Path, movies: Path) -> Iterator[Corpus]:
    with site(movies) as (base, asked):
        yield Corpus(tmp_path, movies, base, asked)


def state(row: Row) -> tuple[str, str | None]:
    return row["status"], row["reason"]


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


def test_whole_files_and_open_ends(corpus: Corpus) -> None:
    corpus.add("whole", "good.mp4")
    corpus.add("from 4 s", "good.mp4", 4.0)
    corpus.add("first second", "good.mp4", 0.0, 1.0)
    rows = corpus.fetch()
    assert [row["seconds"] for row in rows.values()] == pytest.approx([6, 2, 1], abs=0.03)


DEAD = [
    ("404/good.mp4", "unavailable", Reason.NOT_FOUND, 1),
    ("410/good.mp4", "unavailable", Reason.NOT_FOUND, 1),
    ("403/good.mp4", "unavailable", Reason.FORBIDDEN, 3),
    ("429/good.mp4", "unavailable", Reason.RATE_LIMITED, 3),
    ("503/good.mp4", "unavailable", Reason.SERVER, 3),
    ("http://127.0.0.1:9/good.mp4", "unavailable", Reason.NETWORK, 3),
    ("absent.mp4", "unavailable", Reason.NOT_FOUND, 1),
    ("random.mp4", "failed", Reason.DECODE, 1),
    ("truncated.mp4", "failed", Reason.DECODE, 1),
    ("scrambled.mp4", "failed", Reason.DECODE, 1),
    ("mute.mp4", "failed", Reason.NO_AUDIO, 1),
    ("blind.mp4", "failed", Reason.NO_VIDEO, 1),
]


def test_every_dead_link_says_why(corpus: Corpus) -> None:
    for number, (link, *_) in enumerate(DEAD):
        corpus.add(f"{number} {link.split('/')[0]}", link)
    rows = corpus.fetch(shards=1)
    found = [(link, *state(row), row["attempts"]) for (link, *_), row in zip(DEAD, rows.values(), strict=True)]
    assert found == [(link, status, str(reason), attempts) for link, status, reason, attempts in DEAD]
    for row in rows.values():
        assert row["detail"]
        assert "http://" not in row["detail"]
        assert "caused by" not in row["detail"]
        assert row["path"] is None
    assert not list((corpus.store / "files").iterdir())
    assert not list(corpus.store.glob("partial*"))


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


SCRIPTED = [
    ("private", "unavailable", Reason.PRIVATE),
    ("removed", "unavailable", Reason.REMOVED),
    ("terminated", "unavailable", Reason.TERMINATED),
    ("age", "unavailable", Reason.AGE),
    ("login", "unavailable", Reason.LOGIN),
    ("bot", "unavailable", Reason.BOT_CHECK),
    ("limited", "unavailable", Reason.RATE_LIMITED),
    ("geo", "unavailable", Reason.GEO),
    ("list", "unavailable", Reason.UNSUPPORTED),
    ("drm", "unavailable", Reason.NO_FORMAT),
    ("deaf", "unavailable", Reason.NO_FORMAT),
    ("bug", "failed", Reason.UNEXPECTED),
]


def test_a_site_that_refuses_says_why(corpus: Corpus) -> None:
    for case, *_ in SCRIPTED:
        corpus.add(case, f"scripted/{case}", 1, 2)
    rows = corpus.fetch(format="bv", retries=0)
    assert [(name, *state(row)) for name, row in rows.items()] == SCRIPTED
    assert not corpus.asked, "nothing was downloaded"


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


def test_a_transient_failure_is_asked_again_within_the_run(corpus: Corpus) -> None:
    corpus.add("flaky", "flaky/good.mp4", 1, 2)
    row = corpus.fetch()["flaky"]
    assert (*state(row), row["attempts"]) == ("ok", None, 2)


def test_a_server_that_stalls_is_given_up(corpus: Corpus) -> None:
    corpus.add("cut", "stall/good.mp4", 1, 2)
    corpus.add("whole", "stall/good.mp4")
    rows = corpus.fetch(timeout=0.5, retries=0)
    assert [state(row) for row in rows.values()] == [("unavailable", "network_error")] * 2


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


def test_a_second_run_asks_only_what_may_have_changed(corpus: Corpus) -> None:
    corpus.add("got", "good.mp4", 1, 2)
    corpus.add("gone", "404/good.mp4")
    corpus.add("later", "503/good.mp4")
    corpus.add("short", "good.mp4", 5, 7)
    first = corpus.fetch()
    corpus.asked.clear()
    second = corpus.fetch()
    assert set(corpus.asked) == {"503/good.mp4"}
    assert [second[name] for name in ("got", "gone", "short")] == [first[name] for name in ("got", "gone", "short")]
    assert second["later"] == first["later"], "what was refused again makes no other ledger"
    assert corpus.journal()[-1]["attempts"] == 6


def test_what_changed_is_asked_again(corpus: Corpus) -> None:
    corpus.add("a", "good.mp4", 1, 2)
    corpus.add("b", "one/same.mp4")
    corpus.add("c", "two/same.mp4")
    corpus.add("d", "good.mp4", 5.5, 6.7)
    assert state(corpus.fetch()["d"]) == ("failed", "too_short")
    corpus.asked.clear()
    corpus.rows[0]["end"] = 3
    (corpus.store / "files" / "b.mp4").write_bytes(b"cut off")
    rows = corpus.fetch(tolerance=1)
    assert [state(row)[0] for row in rows.values()] == ["ok"] * 4
    assert rows["a"]["seconds"] == pytest.approx(2, abs=0.03)
    assert set(corpus.asked) == {"good.mp4", "one/same.mp4"}
    corpus.asked.clear()
    corpus.fetch(tolerance=1, format="b")
    assert set(corpus.asked) == {"good.mp4", "one/same.mp4", "two/same.mp4"}


def test_a_torn_journal_is_read_up_to_the_tear(corpus: Corpus) -> None:
    corpus.add("a", "one/same.mp4")
    corpus.add("b", "two/same.mp4")
    corpus.fetch(concurrent=1)
    journal = corpus.store / "journal-0.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    for _ in range(2):  # what is appended after the tear must be readable in turn
        corpus.asked.clear()
        assert corpus.fetch()["b"]["status"] == "ok"
    assert not corpus.asked


def test_other_numbers_of_shards_share_the_journal(corpus: Corpus) -> None:
    names = [f"clip {i}" for i in range(6)]
    for name in names:
        corpus.add(name, "one/same.mp4")
    parts = [corpus.fetch(shard, 2) for shard in (0, 1)]
    assert sorted([*parts[0], *parts[1]]) == names
    corpus.asked.clear()
    assert {row["status"] for row in corpus.fetch().values()} == {"ok"}
    assert not corpus.asked


def test_asking_stops_when_everything_is_refused(corpus: Corpus) -> None:
    for number in range(8):
        corpus.add(f"clip {number}", f"429/{number}.mp4")
    rows = corpus.fetch(give_up_after=3, concurrent=1, retries=0)
    assert {state(row) for row in rows.values()} == {("unavailable", "rate_limited")}
    assert [row["attempts"] for row in rows.values()] == [1, 1, 1, 0, 0, 0, 0, 0]
    assert [row["fetched_at"] is None for row in rows.values()] == [False] * 3 + [True] * 5
    assert rows["clip 7"]["detail"].startswith("not asked")
    corpus.rows[3]["link"] = corpus.base + "one/same.mp4"  # the site has forgiven
    assert corpus.fetch(give_up_after=3, concurrent=1, retries=0)["clip 3"]["status"] == "ok"


def test_a_refusal_now_and_then_does_not_stop_the_asking(corpus: Corpus) -> None:
    for number in range(3):
        corpus.add(f"refused {number}", f"429/{number}.mp4")
        corpus.add(f"gone {number}", f"404/{number}.mp4")
    rows = corpus.fetch(give_up_after=2, concurrent=1, retries=0)
    assert {row["attempts"] for row in rows.values()} == {1}


def test_the_same_refusals_never_hide_the_other_clips(corpus: Corpus) -> None:
    for number in range(3):
        corpus.add(f"dead {number}", f"http://127.0.0.1:9/{number}.mp4")
    corpus.add("good", "one/same.mp4")
    once = {"give_up_after": 3, "concurrent": 1, "retries": 0}
    assert corpus.fetch(**once)["good"]["detail"].startswith("not asked")
    assert corpus.fetch(**once)["good"]["status"] == "ok"


def test_a_format_that_is_held_back_is_asked_for_again_but_not_at_once(corpus: Corpus) -> None:
    corpus.add("deaf", "scripted/deaf")
    for attempts in (1, 2):
        assert state(corpus.fetch(format="bv")["deaf"]) == ("unavailable", "no_matching_format")
        assert corpus.journal()[-1]["attempts"] == attempts


def measure_oddly(path: Path, bounds: Bounds) -> dict[str, float]:
    """`measure`, which fails at the clip of two seconds."""
    seconds = measure(path, bounds)
    return {"audio": 3, "video": 3 // (round(seconds["video"]) - 2)}


def test_an_error_that_nobody_expects_is_a_row(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus.add("odd", "one/same.mp4")
    corpus.add("good", "two/same.mp4")
    monkeypatch.setattr(fetch, "measure", measure_oddly)
    rows = corpus.fetch(retries=0)
    assert state(rows["odd"]) == ("failed", "unexpected_error")
    assert rows["odd"]["detail"].startswith("ZeroDivisionError")


def test_a_ledger_is_written_anew_when_a_clip_ends_and_only_then(corpus: Corpus) -> None:
    ledger = corpus.folder / "clips" / "0.parquet"
    corpus.add("got", "one/same.mp4")
    corpus.add("later", "503/good.mp4")
    corpus.fetch(retries=0)
    before = ledger.stat()
    corpus.rows[1]["link"] = corpus.base + "429/good.mp4"
    corpus.fetch(retries=0)
    assert (ledger.stat().st_ino, ledger.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    corpus.rows[1]["link"] = corpus.base + "404/good.mp4"
    assert state(corpus.fetch(retries=0)["later"]) == ("unavailable", "not_found")
    assert ledger.stat().st_ino != before.st_ino


def test_rows_that_are_not_ok_keep_their_reason(corpus: Corpus) -> None:
    corpus.add("left out", "good.mp4", status="skipped", reason="beyond_limit", detail="limit: 3")
    corpus.add("got", "one/same.mp4")
    row = corpus.fetch()["left out"]
    assert (*state(row), row["detail"]) == ("skipped", "beyond_limit", "limit: 3")
    assert not corpus.asked["good.mp4"]


@pytest.mark.parametrize(
    ("clip_id", "link", "words"),
    [
        ("a/b", "http://x/y", "file name"),
        ("..", "http://x/y", "file name"),
        ("ü" * 121, "http://x/y", "file name"),
        ("a", "good.mp4", "--serve"),
    ],
)
def test_manifests_that_cannot_be_asked(corpus: Corpus, clip_id: str, link: str, words: str) -> None:
    corpus.add(clip_id, "http://x/y")
    corpus.rows[0]["link"] = link
    with pytest.raises(UserError, match=words):
        corpus.fetch()


def test_ids_must_be_unique(corpus: Corpus) -> None:
    corpus.add("twice", "good.mp4")
    corpus.add("twice", "one/same.mp4")
    with pytest.raises(UserError, match="'twice' stands 2 times"):
        corpus.fetch()


def command(corpus: Corpus, *options: str) -> list[str]:
    module = [sys.executable, "-m", "workflow_scripts.media.fetch", "--manifest", str(corpus.manifest)]
    return [*module, "--store", str(corpus.store), "--output", str(corpus.folder / "out.parquet"), *options]


def test_a_terminated_job_ends_at_once_and_goes_on_where_it_was(corpus: Corpus) -> None:
    for number in range(8):
        corpus.add(f"clip {number}", f"slow/good.mp4?{number}", 1, 2)
        corpus.rows[-1]["link"] = f"{corpus.base}slow/good.mp4?{number}"
    definition = ["--definition", json.dumps({**FAST, "concurrent": 2})]
    journal = corpus.store / "journal-0.jsonl"
    with subprocess.Popen(command(corpus, *definition), stderr=subprocess.DEVNULL) as job:
        deadline = time.monotonic() + 30
        while not journal.exists() or journal.read_text().count("\n") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        job.send_signal(signal.SIGTERM)
        assert job.wait(3) == 128 + signal.SIGTERM
    done = {entry["clip_id"] for entry in map(json.loads, journal.read_text().splitlines())}
    assert 2 <= len(done) < 8
    assert not (corpus.folder / "out.parquet").exists()
    corpus.asked.clear()
    rows = corpus.fetch()
    assert {row["status"] for row in rows.values()} == {"ok"}
    again = {path.partition("?")[2] for path in corpus.asked}
    assert again == {name.removeprefix("clip ") for name in rows} - {name.removeprefix("clip ") for name in done}


def test_refusals_fail_the_job_unless_the_share_is_accepted(corpus: Corpus) -> None:
    corpus.add("got", "one/same.mp4")
    corpus.add("gone", "404/good.mp4")
    corpus.add("left out", "good.mp4", split="test", status="skipped", reason="beyond_limit")
    for number in range(4):
        corpus.add(f"dead {number}", f"http://127.0.0.1:9/{number}.mp4", split="test" if number else "train")
    output, unfinished = corpus.folder / "out.parquet", corpus.folder / "unfinished-out.parquet"

    def job(**settings: Any) -> subprocess.CompletedProcess[str]:
        chosen = FAST | {"concurrent": 1, "retries": 0, "give_up_after": 2, "min_share": 1.0} | settings
        words = command(corpus, "--definition", json.dumps(chosen))
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)

    done = job()
    assert done.returncode == 1
    assert (
        "7 clips: asked now 4, ok 1; left out: beyond_limit 1; lost for good: not_found 1; "
        "to be asked again: network_error 2, not asked after network_error 2"
    ) in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "error: 1 of 3 clips of train (network_error 1) and 3 of 3 clips of test (not asked after network_error 2, "
        "network_error 1) could not be asked for or were refused for now; run the same command again, which asks for "
        "these only, or accept the loss with `download: {min_share: …}` in config.yaml (now 1); what became of each: "
        f"{unfinished}"
    )
    assert not output.exists()
    assert len(pq.read_table(unfinished)) == len(corpus.rows)
    corpus.asked.clear()
    assert "3 of 3 clips of test" in (middle := job(min_share=0.5)).stderr
    assert "of train" not in middle.stderr.splitlines()[-1], "two thirds of the training clips have an end"
    assert job(min_share=0).returncode == 0
    assert not corpus.asked, "what has an end is not asked for again"
    assert (output.exists(), unfinished.exists()) == (True, False)


def test_jobs_take_turns_at_a_site_and_outlive_killed_ones(corpus: Corpus) -> None:
    corpus.add("one", "one/same.mp4")
    definition = json.dumps({**FAST, "videos_per_hour": 1})
    words = command(corpus, "--definition", definition, "--pace", str(corpus.folder / "pace"))
    subprocess.run(words, capture_output=True, check=True, timeout=60)
    (turn,) = (path for path in (corpus.folder / "pace").iterdir() if path.suffix != ".lock")
    assert turn.name == corpus.base.split("/")[2]
    corpus.asked.clear()
    corpus.add("two", "two/same.mp4")
    with subprocess.Popen(command(corpus, *words[-4:]), stderr=subprocess.PIPE, text=True) as waiting:
        assert any("was asked just now, by another job" in line for line in waiting.stderr), "it asked at once"
        assert not corpus.asked
        waiting.kill()
    os.utime(turn, (0, time.time() - 7200))
    subprocess.run(command(corpus, *words[-4:]), check=True, timeout=60)
    assert corpus.asked["two/same.mp4"]
    assert not corpus.asked["one/same.mp4"]


def test_the_command_serves_a_folder(corpus: Corpus, movies: Path) -> None:
    corpus.add("cut", "good.mp4", 1, 2)
    corpus.rows[-1]["link"] = "good.mp4"
    settings = json.dumps({"proxy": "http://127.0.0.1:9"})  # neither this one nor the environment's is used
    words = command(corpus, "--serve", str(movies), "--definition", settings)
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9"}
    job = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert job.returncode == 0, job.stderr
    assert "1 clips: asked now 1, ok 1" in job.stderr
    assert pq.read_table(corpus.folder / "out.parquet")["status"].to_pylist() == ["ok"]
