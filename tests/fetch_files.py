"""A site with faults, and a corpus to fetch from it."""

import json
import subprocess
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
from media_files import write_movie

from workflow_scripts.media import server
from workflow_scripts.media.plan import FetchClips
from workflow_scripts.shards import Row, Status, shard_of

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
