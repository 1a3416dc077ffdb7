"""Record files in the form of YouTube-8M: a publisher with scripted faults, and what features are made of them."""

import hashlib
import json
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from workflow_scripts.corpora.readers.youtube8m import Reader
from workflow_scripts.features.extractors import youtube8m_frames
from workflow_scripts.features.plan import ExtractRecords
from workflow_scripts.formats import tfrecord
from workflow_scripts.formats.youtube8m import AUDIO, RGB, Frames, Video, encode_video
from workflow_scripts.media import server
from workflow_scripts.media.plan import FetchRecords
from workflow_scripts.media.records import SCHEMA, fetch
from workflow_scripts.shards import Row, read, write

PLAN, FILE = "2/download_plans/{level}_{part}.json", "2/{level}/{part}/{name}"
FAST = {"min_share": 0, "plan": PLAN, "file": FILE, "retry_wait": 0, "retries": 3, "give_up_after": 20}
NAMES = ("trainAA.tfrecord", "trainBb.tfrecord", "validate09.tfrecord")


class Site(server.Handler):
    """The served folder with a list of faults for each file name, one a request; the last one stays if it says so."""

    asked: Counter[str]
    ranges: list[str]
    faults: dict[str, list[str]]

    def answer(self, body: bool) -> None:
        name = self.path.rsplit("/", 1)[-1]
        self.asked[name] += 1
        if "Range" in self.headers:
            self.ranges.append(self.headers["Range"])
        faults = self.faults.get(name, [])
        self.fault = faults[min(self.asked[name], len(faults)) - 1] if faults else "none"
        if self.asked[name] > len(faults) and not self.fault.startswith("always "):
            self.fault = "none"
        self.fault = self.fault.removeprefix("always ")
        if self.fault.isdigit():
            self.send_error(HTTPStatus(int(self.fault)))
        else:
            super().answer(body)

    def send(self, path: Path, start: int, end: int) -> None:
        if self.fault == "breaks":
            end, self.close_connection = (start + end) // 2, True
        elif self.fault == "stalls":
            self.wfile.write(path.read_bytes()[start : (start + end) // 2])
            self.wfile.flush()
            time.sleep(60)
        elif self.fault == "lies":
            self.wfile.write(bytes(end - start))
            return
        super().send(path, start, end)


class Publisher:
    """A folder of record files and plans, its site, and a store to fill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked, self.ranges, self.faults = Counter[str](), list[str](), dict[str, list[str]]()
        self.served, self.store = folder / "served", folder / "records-video"
        for number, name in enumerate(NAMES):
            videos = [video(f"{number}{i:03}", number) for i in range(number + 2)]
            self.publish(name, [encode_video(item) for item in videos])

    def publish(self, name: str, records: list[bytes], level: str = "video") -> Path:
        part = "train" if name.startswith("train") else "validate"
        path = self.served / f"2/{level}/{part}/{name}"
        tfrecord.write(path, records)
        self.plan(part, level)
        return path

    def plan(self, part: str, level: str = "video", **changes: str) -> None:
        files = {path.name: md5(path) for path in (self.served / f"2/{level}/{part}").glob("*")}
        path = self.served / PLAN.format(level=level, part=part)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"files": files | changes}))

    def fetch(self, shard: int = 0, shards: int = 1, level: Any = "video", **settings: Any) -> dict[str, Row]:
        chosen = FAST | settings
        job = FetchRecords(level=level, records=chosen, shard=shard, shards=shards, store=self.store)
        output = self.store / f"{shard}.parquet"
        handler = type("ScriptedSite", (Site,), {"asked": self.asked, "ranges": self.ranges, "faults": self.faults})
        with server.serve(self.served, handler) as base:
            fetch(job, output, base)
        return {row["name"]: row for row in read(output)}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def video(clip_id: str, label: int = 0) -> Video:
    random = np.random.default_rng(int(clip_id, 36))
    return Video(clip_id, [label, 7], random.normal(size=RGB).astype("f4"), random.normal(size=AUDIO).astype("f4"))


def vocabulary(folder: Path, classes: int) -> Path:
    path = folder / "vocabulary.csv"
    path.write_text("Index,Name\n" + "".join(f"{number},class {number}\n" for number in range(classes)))
    return path


def frame_shard(folder: Path, records: list[bytes], most: int = 300) -> Path:
    """The shard that the feature stage makes of one frame-level record file."""
    store = folder / "media" / "records-frame"
    tfrecord.write(store / "files" / "train" / "a.tfrecord", records)
    row = {"name": "a.tfrecord", "part": "train", "path": "files/train/a.tfrecord", "md5": "", "status": "ok"}
    lost = {"name": "b.tfrecord", "part": "train", "md5": "", "status": "unavailable", "reason": "not_found"}
    write(store / "0.parquet", [lost, row], SCHEMA)
    write(folder / "manifest.parquet", [], pa.schema([("clip_id", pa.string())]))
    job = ExtractRecords(
        extractor="youtube8m_frames",
        settings=youtube8m_frames.Extractor(max_frames=most),
        source=store / "0.parquet",
        manifest=folder / "manifest.parquet",
        reading=Reader(),
        files={"vocabulary": vocabulary(folder, 8)},
    )
    job.run(folder / "features" / "frames" / "0.parquet")
    return folder / "features" / "frames" / "0.parquet"


def frames(name: str, seconds: int = 200) -> Frames:
    random = np.random.default_rng(len(name))
    return Frames(name, [1], *(random.integers(0, 256, (seconds, size)).astype(np.uint8) for size in (RGB, AUDIO)))
