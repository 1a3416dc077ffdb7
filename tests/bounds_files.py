"""A site that drips, never ends and asks for patience, and clips, texts and records to fetch from it."""

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scripted_site  # noqa: F401 - yt-dlp knows it from then on
from media_files import write_movie

from workflow_scripts.media import server
from workflow_scripts.media.plan import FetchClips, FetchRecords, FetchText
from workflow_scripts.shards import Row

HASTY = {"min_share": 0, "retry_wait": 0.01, "retries": 1, "give_up_after": 50, "timeout": 5, "speed_window": 0.5}


CLIPS = HASTY | {"videos_per_hour": None, "cut_timeout": 3}


MANIFEST = pa.schema(
    [(name, pa.string()) for name in ("clip_id", "link", "status", "reason", "detail", "split")]
    + [("start", pa.float64()), ("end", pa.float64()), ("labels", pa.list_(pa.string()))]
)


BEGINNING = bytes.fromhex("00000018667479706d70343200000000") + b"mp42isom" + bytes.fromhex("00000000") + b"mdat"


class Site(server.Handler):
    """The first part of a path says how it is answered; behind `cut-`, ffmpeg only, which comes last."""

    asked: Counter[str]
    headers_of: list[dict[str, str]]
    over: threading.Event
    later: list[tuple[int, str]]
    playlist = b""

    def answer(self, body: bool) -> None:
        self.asked[self.path.lstrip("/")] += 1
        self.headers_of.append(dict(self.headers))
        fault, _, name = self.path.lstrip("/").partition("/")
        by_ffmpeg = "Icy-MetaData" in self.headers
        if fault.startswith("cut-") and not by_ffmpeg:
            self.path, fault, name = "/good.mp4", "", "good.mp4"
        fault = fault.removeprefix("cut-")
        answer = getattr(self, f"answer_{fault}", None)
        if fault.isdigit():
            self.send_error(int(fault))
        elif answer is None:
            self.path = name or fault
            super().answer(body)
        else:
            self.close_connection = True
            with suppress(ConnectionError):
                answer(name)

    def begin(self, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content_Type": "video/mp4", **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Connection", "close")  # else the next ask may meet a connection that is closing
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def answer_busy(self, name: str) -> None:
        """Refuses all but what is asked for again, and says when to come: `later` holds status and header."""
        if self.later:
            status, header = self.later.pop(0)
            self.begin(status, 0, Retry_After=header)
        else:
            self.path = name
            super().answer(body=True)

    def answer_drip(self, _: str) -> None:
        self.begin(length=1_000_000)
        self.wfile.write(BEGINNING)
        while not self.over.wait(0.02):
            self.wfile.write(b"a")

    def answer_list(self, _: str) -> None:
        self.begin(length=len(self.playlist), Content_Type="application/vnd.apple.mpegurl")
        self.wfile.write(self.playlist)

    def answer_ids(self, name: str) -> None:
        time.sleep(0.3)
        content = f'i("{name}","yt-{name}");'.encode()
        self.begin(length=len(content))
        self.wfile.write(content)

    def answer_loop(self, _: str) -> None:
        self.begin(302, 0, Location="/loop/again")

    def answer_to(self, name: str) -> None:
        """/to/SCHEME/REST leads to SCHEME://REST."""
        self.begin(302, 0, Location=name.replace("/", "://", 1))

    def answer_empty(self, _: str) -> None:
        self.begin(length=0)

    def answer_hangup(self, _: str) -> None:
        pass

    def answer_short(self, name: str) -> None:
        """Promises all of a file, and gives its first half."""
        content = (self.folder / name).read_bytes()
        start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        told = {"Content_Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        self.begin(206, len(content) - start, **told)
        self.wfile.write(content[start : len(content) // 2])

    def answer_slowpage(self, _: str) -> None:
        self.begin(Content_Type="text/html")
        self.wfile.write(b"<html><body>" + b"<p>more</p>" * 100)
        while not self.over.wait(0.02):
            self.wfile.write(b"a")

    def answer_endless(self, _: str) -> None:
        self.begin()
        self.wfile.write(BEGINNING)
        while True:
            self.wfile.write(bytes(1 << 16))

    def answer_page(self, _: str) -> None:
        self.begin(Content_Type="text/html")
        self.wfile.write(b"<html><body>")
        while True:
            self.wfile.write(b"<p>more</p>" * 1000)


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    good = write_movie(folder / "good.mp4")
    faststart = ["-c", "copy", "-movflags", "faststart", str(folder / "fast.mp4")]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", str(good), *faststart], check=True)
    return folder


@pytest.fixture
def site(movies: Path) -> Iterator[tuple[str, type[Site]]]:
    handler = type(
        "BoundedSite", (Site,), {"asked": Counter(), "headers_of": [], "later": [], "over": threading.Event()}
    )
    with server.serve(movies, handler) as base:
        yield base, handler
    handler.over.set()


def clips(folder: Path, *links: tuple[str, float | None, float | None], **settings: Any) -> list[Row]:
    """The rows of the ledger of some clips (link, start, end)."""
    rows = [
        {"clip_id": f"c{number}", "link": link, "start": start, "end": end, "status": "ok", "split": "train"}
        for number, (link, start, end) in enumerate(links)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=MANIFEST), folder / "manifest.parquet")
    job = FetchClips(manifest=folder / "manifest.parquet", download=CLIPS | settings, store=folder / "store")
    job.run(folder / "0.parquet")
    return list(pq.read_table(folder / "0.parquet").to_pylist())


def state(row: Row) -> tuple[str, str | None]:
    return row["status"], row["reason"]


def records(folder: Path, base: str, **settings: Any) -> list[Row]:
    """The rows of the ledger of one record file of each part, whose plan and file lie where `base` says."""
    addresses = {"plan": base + "{part}.json", "file": base + "{part}/{name}"} | settings
    job = FetchRecords(level="video", records=HASTY | addresses, store=folder / "records")
    job.run(folder / "records.parquet")
    return list(pq.read_table(folder / "records.parquet").to_pylist())


@pytest.fixture
def plans(movies: Path) -> None:
    for part in ("train", "validate", "test"):
        (movies / f"{part}.json").write_text(json.dumps({"files": {f"{part}00.tfrecord": "0" * 32}}))


def texts(folder: Path, *names: str, **settings: Any) -> list[Row]:
    """The rows of the ledger of texts of some videos."""
    rows = [{"clip_id": name, "link": "train/a", "status": "ok", "split": "train", "labels": []} for name in names]
    pq.write_table(pa.Table.from_pylist(rows, schema=MANIFEST), folder / "manifest.parquet")
    pq.write_table(pa.table({"part": ["train"], "name": ["a"]}), folder / "records.parquet")
    chosen = HASTY | {"asks_per_hour": None, "ids_per_hour": None, "concurrent": 1} | settings
    files = {"manifest": folder / "manifest.parquet", "records": folder / "records.parquet"}
    (folder / "titles.json").write_text("{}")
    released = {"titles": folder / "titles.json"} if chosen["source"] == "release" else {}
    FetchText(**files, text=chosen, files=released, store=folder / "texts").run(folder / "text.parquet")
    return list(pq.read_table(folder / "text.parquet").to_pylist())
